//! The errors of the service: the one table of what callers are told.

use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::fields::Fields;
use gameshelf::ids::OrderId;
use tonic::Status;

use super::requests;
use crate::order::{NotGranted, Order, Refusal};
use crate::purchases::BuyError;
use crate::store::StoreError;

/// When a retry is worth while after an outage or an overload.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An order that was refused, told as often as it is asked for.
pub(super) fn refusal(order: &Order, refusal: &Refusal, replayed: bool) -> Status {
    let reason = refusal.reason();
    let (precondition, description) = match refusal {
        Refusal::GameUnknown => ("GAME_KNOWN", "the catalogue has no such game"),
        Refusal::GameDelisted => ("GAME_LISTED", "the game is no longer sold"),
        Refusal::PriceChanged => ("PRICE_UNCHANGED", "the price is not the expected one"),
        Refusal::PaymentDeclined => ("PAYMENT_AUTHORIZED", "the payment was declined"),
        Refusal::NotGranted(NotGranted::AlreadyOwned, _) => {
            ("NOT_OWNED", "the customer owns the game already")
        }
        Refusal::NotGranted(NotGranted::OutOfStock, _) => ("IN_STOCK", "no copy of the game is left"),
    };
    let message = format!("order {} of {} was refused: {description}", order.order_id, order.game_id);
    let mut error = ErrorBuilder::new(reason, message)
        .with("order_id", order.order_id)
        .with("customer_id", &order.customer_id)
        .with("game_id", &order.game_id)
        .with("replayed", replayed)
        .with("catalog_hash", &order.catalog_hash)
        .failed_precondition(precondition, order.game_id.as_str(), description);
    if let (Refusal::PriceChanged, Some(price)) = (refusal, &order.price) {
        error = error.with("currency", &price.currency).with("price_minor_units", price.minor_units);
    }
    if let Refusal::NotGranted(_, Some(at)) = refusal {
        error = error.with("revision", at.revision).with("token", &at.token);
    }
    error.build()
}

/// A purchase that was not taken. What the caller cannot mend is logged.
pub(super) fn buy(error: &BuyError) -> Status {
    match error {
        BuyError::RequestIdReused(request_id) => {
            ErrorBuilder::new(Reason::RequestIdReused, "the request id stands for another purchase")
                .with("request_id", request_id)
                .bad_field("request_id", "request_id stands for another purchase")
                .build()
        }
        BuyError::TokenMissing => {
            let mut fields = Fields::new();
            requests::missing_payment_token(&mut fields);
            // With a wrong field there is never a request.
            fields.finish::<()>(None).err().unwrap_or_else(internal)
        }
        BuyError::BacklogFull(full) => {
            ErrorBuilder::new(Reason::QueueFull, "too many orders are unfinished; nothing was written")
                .with("limit", full.limit)
                .retry_after(RETRY_AFTER)
                .build()
        }
        BuyError::Store(error) => store(error),
    }
}

/// The store did not do as asked.
fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Unavailable(_) => {
            tracing::warn!(%error, "a request was refused");
            store_unavailable("the store cannot be reached; nothing was written")
        }
        StoreError::Unknown(_) => {
            tracing::warn!(%error, "the outcome of a request is not known");
            let message = "the store did not answer; the same request id settles what was written";
            ErrorBuilder::new(Reason::OutcomeUnknown, message).retry_after(RETRY_AFTER).build()
        }
        StoreError::Failed(_) | StoreError::Corrupt(_) => {
            tracing::error!(%error, "a request failed");
            internal()
        }
    }
}

/// The service has not opened its store yet.
pub(super) fn store_not_open() -> Status {
    store_unavailable("the store is not open yet; nothing was written")
}

/// A page was asked for of a catalogue that is no longer the current one.
pub(super) fn catalog_changed(current_hash: &str) -> Status {
    let message = "the catalogue has changed since the page before; begin with the first page";
    ErrorBuilder::new(Reason::CatalogChanged, message)
        .with("catalog_hash", current_hash)
        .failed_precondition("CATALOG_UNCHANGED", "catalog", message)
        .build()
}

/// There is no such order.
pub(super) fn order_unknown(order_id: OrderId) -> Status {
    ErrorBuilder::new(Reason::OrderUnknown, "there is no such order").with("order_id", order_id).build()
}

fn store_unavailable(message: &str) -> Status {
    ErrorBuilder::new(Reason::StoreUnavailable, message).retry_after(RETRY_AFTER).build()
}

fn internal() -> Status {
    ErrorBuilder::new(Reason::Internal, "a defect of the service; its log says more").build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::{grant, order};
    use crate::saga::BacklogFull;
    use gameshelf::errors::{metadata_of, reason_of};
    use tonic::Code;
    use tonic_types::StatusExt;

    #[test]
    fn a_refusal_says_all_that_a_program_needs() {
        let status = refusal(&order(499), &Refusal::PriceChanged, true);
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::FailedPrecondition, Some(Reason::PriceChanged))
        );
        let metadata = |key| metadata_of(&status, key).unwrap_or_default();
        assert_eq!(metadata("order_id"), order(499).order_id.to_string());
        assert_eq!(metadata("customer_id"), "ann");
        assert_eq!(metadata("game_id"), "tiny-forest");
        assert_eq!(metadata("replayed"), "true");
        assert_eq!(metadata("currency"), "USD");
        assert_eq!(metadata("price_minor_units"), "499");
        assert_eq!(metadata("catalog_hash").len(), 64);
        for (why, reason) in
            [(NotGranted::AlreadyOwned, Reason::AlreadyOwned), (NotGranted::OutOfStock, Reason::OutOfStock)]
        {
            let not_granted = refusal(&order(499), &Refusal::NotGranted(why, Some(grant(7))), false);
            assert_eq!(reason_of(&not_granted), Some(reason));
            assert_eq!(metadata_of(&not_granted, "revision").as_deref(), Some("7"));
            let failure = not_granted.get_details_precondition_failure().expect("details");
            assert_eq!(failure.violations[0].subject, "tiny-forest");
        }
    }

    #[test]
    fn no_text_of_a_driver_leaves_the_service() {
        let secret = || "/srv/data/orders.sqlite: disk I/O error".to_owned();
        for error in [
            StoreError::Unavailable(secret()),
            StoreError::Unknown(secret()),
            StoreError::Failed(secret()),
            StoreError::Corrupt(secret()),
        ] {
            let status = buy(&BuyError::Store(error));
            assert!(!format!("{status:?}").contains("orders.sqlite"), "{status:?}");
            assert!(!String::from_utf8_lossy(status.details()).contains("orders.sqlite"));
        }
    }

    #[test]
    fn what_is_worth_a_retry_says_when() {
        let full = buy(&BuyError::BacklogFull(BacklogFull { limit: 9 }));
        assert_eq!((full.code(), reason_of(&full)), (Code::Unavailable, Some(Reason::QueueFull)));
        assert_eq!(metadata_of(&full, "limit").as_deref(), Some("9"));
        let unknown = buy(&BuyError::Store(StoreError::Unknown(String::new())));
        for status in [full, unknown, store_not_open()] {
            assert!(status.get_details_retry_info().is_some());
        }
    }
}
