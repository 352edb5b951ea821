//! Every error of the service as it goes to the wire: the one table.

use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::ids::PaymentId;
use tonic::Status;

use crate::books::BooksError;
use crate::ledger::Refusal;
use crate::store::StoreError;

/// When a call that found the books busy or closed is worth a repeat.
const RETRY_AFTER: Duration = Duration::from_millis(100);

pub(super) fn refusal(refusal: Refusal, payment_id: PaymentId) -> Status {
    match refusal {
        Refusal::Unknown => payment_unknown(payment_id),
        Refusal::State(state) => {
            let description = format!("the payment is {}", state.as_str());
            ErrorBuilder::new(Reason::PaymentState, description.as_str())
                .with("payment_id", payment_id)
                .with("state", state.as_str())
                .failed_precondition(Reason::PaymentState.as_str(), &payment_id.to_string(), &description)
                .build()
        }
        Refusal::Reused => {
            ErrorBuilder::new(Reason::RequestIdReused, "the id stands for a request with other content")
                .with("payment_id", payment_id)
                .build()
        }
    }
}

pub(super) fn payment_unknown(payment_id: PaymentId) -> Status {
    ErrorBuilder::new(Reason::PaymentUnknown, "there is no such payment")
        .with("payment_id", payment_id)
        .build()
}

pub(super) fn books(error: &BooksError) -> Status {
    match error {
        BooksError::QueueFull => {
            ErrorBuilder::new(Reason::QueueFull, "the provider is busy; nothing was done")
        }
        BooksError::Closed => ErrorBuilder::new(Reason::ShuttingDown, "the provider is stopping"),
        BooksError::Store(_) => ErrorBuilder::new(
            Reason::OutcomeUnknown,
            "the books cannot be written; the same call again settles whether this one was",
        ),
    }
    .retry_after(RETRY_AFTER)
    .build()
}

pub(super) fn unreadable(error: &StoreError) -> Status {
    tracing::error!(%error, "the books were not read");
    ErrorBuilder::new(Reason::StoreUnavailable, "the books cannot be read").retry_after(RETRY_AFTER).build()
}

/// What the caller sees of a call whose answer the payment token asks to lose.
pub(super) fn answer_lost() -> Status {
    ErrorBuilder::new(Reason::OutcomeUnknown, "the answer was lost, as the payment token asks")
        .retry_after(RETRY_AFTER)
        .build()
}
