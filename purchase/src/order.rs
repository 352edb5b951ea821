//! An order and its way: a pure state machine that knows neither the wire nor a database.
//!
//! ```text
//!                    declined                      owned already, or none left
//! Created ─authorize─────────► Refused ◄──void── Voiding ◄──┐
//!    │  └──────► Authorized ────────────grant───────────────┤
//!    │                                                      └─► Granted ─capture─► Completed
//!    └── price 0 ─grant─► Completed or Refused
//! ```
//!
//! Money is taken only in [`State::Granted`], which is reached only by a grant; a refused order has none taken.
//! [`next_step`] says what is to be done with an order, and [`apply`] what it is after that was done. Each step has
//! an id that the order holds from its beginning, so that repeating a step has no second effect.

mod content;
mod decision;
mod refusal;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use gameshelf::catalog::Price;
use gameshelf::ids::{CustomerId, GameId, OrderId, PaymentId, RequestId};

pub(crate) use content::ContentHash;
pub(crate) use decision::{Decision, decide};
pub(crate) use refusal::{NotGranted, Refusal};

/// What a customer asks for when buying.
#[derive(Clone, Debug)]
pub(crate) struct Purchase {
    pub(crate) request_id: RequestId,
    pub(crate) customer_id: CustomerId,
    pub(crate) game_id: GameId,
    /// None where the request has no token; enough for a game of price 0.
    pub(crate) payment_token: Option<PaymentToken>,
    /// The price that the buyer was shown; none means any.
    pub(crate) expected_price: Option<Price>,
}

/// What stands for a customer's means of payment. It is never shown, not in a log either.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PaymentToken(String);

impl PaymentToken {
    pub(crate) fn new(token: String) -> Self {
        Self(token)
    }

    /// The token, for the provider or the store.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PaymentToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PaymentToken(..)")
    }
}

/// A purchase of one game by one customer, with all that its steps need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the id is called as it is everywhere else")]
pub(crate) struct Order {
    pub(crate) order_id: OrderId,
    /// Grows by one with every change, so that of two writers only one succeeds.
    pub(crate) version: u64,
    pub(crate) state: State,
    /// The request that it was made by.
    pub(crate) request_id: RequestId,
    pub(crate) content: ContentHash,
    pub(crate) customer_id: CustomerId,
    pub(crate) game_id: GameId,
    /// None where the game was not to be bought.
    pub(crate) price: Option<Price>,
    pub(crate) catalog_hash: String,
    /// None for a game of price 0, and where the game was not to be bought.
    pub(crate) payment: Option<Payment>,
    pub(crate) grant_request_id: RequestId,
    /// The W3C trace context of the request that it was made by.
    pub(crate) traceparent: Option<String>,
    pub(crate) created_unix_ms: u64,
}

/// The payment of an order, with the ids of all calls that it can need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the id is called as it is everywhere else")]
pub(crate) struct Payment {
    pub(crate) payment_id: PaymentId,
    pub(crate) capture_request_id: RequestId,
    pub(crate) void_request_id: RequestId,
    pub(crate) amount: Price,
    /// Kept until the authorization is settled, and no longer.
    pub(crate) token: Option<PaymentToken>,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On disk; whether anything was asked of anybody is not known.
    Created,
    /// The money is reserved.
    Authorized,
    /// The customer owns the game; the money is still to be taken.
    Granted(Grant),
    /// The grant was refused; the reserved money is still to be let go.
    Voiding(Refusal),
    /// The customer owns the game, and the money was taken.
    Completed(Grant),
    /// The customer did not get the game by this order, and no money was taken.
    Refused(Refusal),
}

impl State {
    /// Whether nothing is left to be done.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Refused(_))
    }

    /// How far the order has seen what customers own: the grant, or where one was refused.
    pub(crate) fn seen(&self) -> Option<&Grant> {
        match self {
            Self::Granted(grant) | Self::Completed(grant) => Some(grant),
            Self::Voiding(Refusal::NotGranted(_, at)) | Self::Refused(Refusal::NotGranted(_, at)) => {
                at.as_ref()
            }
            Self::Created | Self::Authorized | Self::Voiding(_) | Self::Refused(_) => None,
        }
    }
}

/// The commit by which a customer got a game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) revision: u64,
    /// The same as a freshness token.
    pub(crate) token: String,
}

/// What is to be done with an order next. Repeating it has no second effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Reserve the money.
    Authorize(&'a Payment),
    /// Give the customer the game.
    Grant,
    /// Take the reserved money.
    Capture(&'a Payment),
    /// Let the reserved money go.
    Void(&'a Payment),
}

impl Step<'_> {
    /// The step's name in spans, metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorize(_) => "authorize",
            Self::Grant => "grant",
            Self::Capture(_) => "capture",
            Self::Void(_) => "void",
        }
    }
}

/// What came of a step. An outcome that is not known is no event: the step is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The money is reserved.
    Authorized,
    /// The provider will not reserve the money.
    Declined,
    /// The customer owns the game by this order.
    Granted(Grant),
    /// The customer does not get the game by this order.
    NotGranted(NotGranted, Option<Grant>),
    /// The money was taken.
    Captured,
    /// The reserved money was let go.
    Voided,
}

/// An event that cannot happen to an order in its state; the order stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to an order that is {state:?}")]
pub(crate) struct UnexpectedEvent {
    state: State,
    event: Event,
}

/// What is to be done with the order; none once it is at its end.
pub(crate) fn next_step(order: &Order) -> Option<Step<'_>> {
    match (&order.state, &order.payment) {
        (State::Completed(_) | State::Refused(_), _) => None,
        (State::Created, Some(payment)) => Some(Step::Authorize(payment)),
        (State::Granted(_), Some(payment)) => Some(Step::Capture(payment)),
        (State::Voiding(_), Some(payment)) => Some(Step::Void(payment)),
        // Without a payment the grant is the only step, and the order's end.
        (State::Authorized, Some(_)) | (_, None) => Some(Step::Grant),
    }
}

/// The order after an event.
///
/// # Errors
///
/// [`UnexpectedEvent`] when no step of an order in this state leads to the event.
pub(crate) fn apply(order: &Order, event: Event) -> Result<Order, UnexpectedEvent> {
    let state = match (&order.state, &order.payment, event) {
        (State::Created, Some(_), Event::Authorized) => State::Authorized,
        (State::Created, Some(_), Event::Declined) => State::Refused(Refusal::PaymentDeclined),
        (State::Created, None, Event::Granted(grant)) => State::Completed(grant),
        (State::Created, None, Event::NotGranted(why, at)) => State::Refused(Refusal::NotGranted(why, at)),
        (State::Authorized, Some(_), Event::Granted(grant)) => State::Granted(grant),
        (State::Authorized, Some(_), Event::NotGranted(why, at)) => {
            State::Voiding(Refusal::NotGranted(why, at))
        }
        (State::Granted(grant), Some(_), Event::Captured) => State::Completed(grant.clone()),
        (State::Voiding(refusal), Some(_), Event::Voided) => State::Refused(refusal.clone()),
        (state, _, event) => return Err(UnexpectedEvent { state: state.clone(), event }),
    };
    let mut after = Order { state, version: order.version + 1, ..order.clone() };
    // The authorization is settled now, or never was needed, so nobody needs the means of payment any more.
    if let Some(payment) = &mut after.payment {
        payment.token = None;
    }
    Ok(after)
}
