//! To the wire: an order as callers see it.

use gameshelf::proto::purchase::v1 as wire;
use gameshelf::tokens::Token;
use mesh::causal;
use prost_types::Timestamp;

use crate::order::{Order, State};

/// Notes how far the caller has seen what customers own by an order. It is the order's own, and nothing that its steps saw of
/// others: they run for no caller.
pub(super) fn seen(order: &Order) {
    // A token that cannot be read tells nothing; it is handed on as it is all the same.
    if let Some(token) = order.state.seen().and_then(|grant| grant.token.parse::<Token>().ok()) {
        causal::record(&token.scope().into(), token.revision);
    }
}

/// An order as callers see it.
pub(super) fn order(order: &Order) -> wire::Order {
    let (state, refusal, grant) = match &order.state {
        State::Created | State::Authorized | State::Voiding(_) => (wire::OrderState::Pending, None, None),
        State::Granted(grant) => (wire::OrderState::Pending, None, Some(grant)),
        State::Completed(grant) => (wire::OrderState::Completed, None, Some(grant)),
        State::Refused(refusal) => (wire::OrderState::Refused, Some(refusal), None),
    };
    wire::Order {
        order_id: order.order_id.to_string(),
        customer_id: order.customer_id.to_string(),
        game_id: order.game_id.to_string(),
        state: state.into(),
        refusal_reason: refusal.map(|refusal| refusal.reason().to_string()).unwrap_or_default(),
        price: order
            .price
            .as_ref()
            .map(|price| wire::Price { currency: price.currency.clone(), minor_units: price.minor_units }),
        catalog_hash: order.catalog_hash.clone(),
        revision: grant.map(|grant| grant.revision).unwrap_or_default(),
        token: grant.map(|grant| grant.token.clone()).unwrap_or_default(),
        create_time: Some(timestamp(order.created_unix_ms)),
        payment_id: order.payment.as_ref().map(|payment| payment.payment_id.to_string()).unwrap_or_default(),
    }
}

fn timestamp(unix_ms: u64) -> Timestamp {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(unix_ms % 1000 * 1_000_000).unwrap_or(0);
    Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::{grant, order as created};
    use crate::order::{NotGranted, Order, Refusal};

    #[test]
    fn every_state_has_its_place_on_the_wire() {
        let seen = |state| {
            let answer = order(&Order { state, ..created(1) });
            (answer.state(), answer.refusal_reason, answer.revision)
        };
        let pending = (wire::OrderState::Pending, String::new(), 0);
        assert_eq!(seen(State::Created), pending);
        assert_eq!(seen(State::Authorized), pending);
        assert_eq!(seen(State::Voiding(Refusal::NotGranted(NotGranted::AlreadyOwned, None))), pending);
        assert_eq!(seen(State::Granted(grant(7))), (wire::OrderState::Pending, String::new(), 7));
        assert_eq!(seen(State::Completed(grant(7))), (wire::OrderState::Completed, String::new(), 7));
        assert_eq!(
            seen(State::Refused(Refusal::NotGranted(NotGranted::AlreadyOwned, Some(grant(7))))),
            (wire::OrderState::Refused, "ALREADY_OWNED".to_owned(), 0)
        );
    }

    #[test]
    fn a_time_keeps_its_milliseconds() {
        assert_eq!(timestamp(1_700_000_000_123), Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 });
    }
}
