//! The rules of the books, without storage and without the wire: a payment and a call in, the next payment out.
//!
//! authorized → captured → refunded, or authorized → voided. Declined, voided and refunded are ends: no money moves
//! after them. A payment that is voided before it was seen is kept as voided, so that its late authorization is declined.

use gameshelf::ids::{PaymentId, RequestId};
use sha2::{Digest, Sha256};

use crate::behavior::Behavior;

/// Why an authorization that arrives after its void is declined.
const VOIDED_BEFORE: &str = "the payment was voided before it was authorized";
/// Why the sandbox declines on request.
const TOKEN_DECLINES: &str = "the payment token asks the sandbox to decline";

/// An amount in minor units of a currency; never negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) currency: String,
    pub(crate) minor_units: i64,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
}

impl State {
    /// The name under which the state is stored and told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }
}

/// What was asked for with the token, kept to tell a repeat from another request under the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) behavior: Behavior,
    pub(crate) content: [u8; 32],
}

/// A payment in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) state: State,
    pub(crate) amount: Option<Money>,
    pub(crate) order_id: String,
    pub(crate) decline_message: String,
    pub(crate) updated_unix_ms: u64,
    /// Unset for a payment that was voided before it was seen.
    pub(crate) asked: Option<Asked>,
}

/// A request to reserve money.
#[derive(Clone, Debug)]
pub(crate) struct Authorization {
    pub(crate) payment_id: PaymentId,
    pub(crate) payment_token: String,
    pub(crate) amount: Money,
    pub(crate) order_id: String,
}

impl Authorization {
    /// A hash of everything but the id. Each text is preceded by its length, so that no two requests look alike.
    fn content(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(b"authorize/1");
        for text in [&self.payment_token, &self.amount.currency, &self.order_id] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(self.amount.minor_units.to_be_bytes());
        hash.finalize().into()
    }
}

/// What a call does to a payment that was authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Capture,
    Void,
    Refund,
}

impl Operation {
    /// The name under which the operation is stored and told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// A call under a request id. The id aside, it is the content by which a repeat is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    pub(crate) operation: Operation,
    pub(crate) payment_id: PaymentId,
}

/// Why a call changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The provider never saw the payment.
    Unknown,
    /// The payment is in a state in which this cannot be done.
    State(State),
    /// The id stands for a request with other content. It is never the stored outcome of a call.
    Reused,
}

/// What an authorization did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorized {
    /// The payment is new in the books.
    First(Payment),
    /// The request is known; the payment is as it stands now.
    Repeat(Payment),
}

/// Judges an authorization.
pub(crate) fn authorize(
    found: Option<Payment>,
    request: &Authorization,
    unix_ms: u64,
) -> Result<Authorized, Refusal> {
    let content = request.content();
    let behavior = Behavior::of_token(&request.payment_token);
    let decline = match found {
        Some(Payment { asked: Some(ref asked), .. }) if asked.content != content => {
            return Err(Refusal::Reused);
        }
        Some(payment) if payment.asked.is_some() => return Ok(Authorized::Repeat(payment)),
        Some(_) => Some(VOIDED_BEFORE),
        None => (behavior == Behavior::Decline).then_some(TOKEN_DECLINES),
    };
    Ok(Authorized::First(Payment {
        id: request.payment_id,
        state: if decline.is_some() { State::Declined } else { State::Authorized },
        amount: Some(request.amount.clone()),
        order_id: request.order_id.clone(),
        decline_message: decline.unwrap_or_default().to_owned(),
        updated_unix_ms: unix_ms,
        asked: Some(Asked { behavior, content }),
    }))
}

/// Judges a capture, a void or a refund. The payment that comes back is what the books say from now on.
pub(crate) fn settle(found: Option<Payment>, call: &Call, unix_ms: u64) -> Result<Payment, Refusal> {
    let Some(payment) = found else {
        return match call.operation {
            Operation::Void => Ok(voided_unseen(call.payment_id, unix_ms)),
            Operation::Capture | Operation::Refund => Err(Refusal::Unknown),
        };
    };
    let state = match (call.operation, payment.state) {
        (Operation::Capture, State::Authorized) => State::Captured,
        (Operation::Void, State::Authorized) => State::Voided,
        (Operation::Refund, State::Captured) => State::Refunded,
        // No money is reserved, which is what a void is to bring about.
        (Operation::Void, State::Voided | State::Declined) => return Ok(payment),
        (_, state) => return Err(Refusal::State(state)),
    };
    Ok(Payment { state, updated_unix_ms: unix_ms, ..payment })
}

fn voided_unseen(payment_id: PaymentId, unix_ms: u64) -> Payment {
    Payment {
        id: payment_id,
        state: State::Voided,
        amount: None,
        order_id: String::new(),
        decline_message: String::new(),
        updated_unix_ms: unix_ms,
        asked: None,
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
