//! Requests into commands, with every wrong field named; payments into messages.

use gameshelf::fields::Fields;
use gameshelf::ids::{IdError, PaymentId, check_text};
use gameshelf::proto::payment::v1;
use tonic::Status;

use crate::ledger::{Authorization, Call, Money, Operation, Payment, State};

/// The most bytes of a payment token.
const PAYMENT_TOKEN_MAX_BYTES: usize = 128;
/// The most bytes of an order id.
const ORDER_ID_MAX_BYTES: usize = 64;

pub(super) fn authorization(request: v1::AuthorizeRequest) -> Result<Authorization, Status> {
    let mut fields = Fields::new();
    let payment_id = fields.take("payment_id", request.payment_id.parse());
    let token = text(&request.payment_token, PAYMENT_TOKEN_MAX_BYTES);
    let payment_token = fields.take("payment_token", token);
    let amount = money(&mut fields, request.amount);
    let order_id = fields.take("order_id", text(&request.order_id, ORDER_ID_MAX_BYTES));
    let request = payment_id.zip(payment_token).zip(amount).zip(order_id).map(
        |(((payment_id, payment_token), amount), order_id)| Authorization {
            payment_id,
            payment_token,
            amount,
            order_id,
        },
    );
    fields.finish(request)
}

pub(super) fn call(operation: Operation, request_id: &str, payment_id: &str) -> Result<Call, Status> {
    let mut fields = Fields::new();
    let request_id = fields.take("request_id", request_id.parse());
    let payment_id = fields.take("payment_id", payment_id.parse());
    let ids = request_id.zip(payment_id);
    fields.finish(ids.map(|(request_id, payment_id)| Call { request_id, operation, payment_id }))
}

pub(super) fn payment_id(text: &str) -> Result<PaymentId, Status> {
    let mut fields = Fields::new();
    let payment_id = fields.take("payment_id", text.parse());
    fields.finish(payment_id)
}

fn text(text: &str, limit_bytes: usize) -> Result<String, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    check_text(text, limit_bytes).map(|()| text.to_owned())
}

fn money(fields: &mut Fields, money: Option<v1::Money>) -> Option<Money> {
    let Some(v1::Money { currency, minor_units }) = money else {
        fields.wrong("amount", "must be set");
        return None;
    };
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        fields.wrong("amount.currency", "must be three capital letters");
    }
    if minor_units < 0 {
        fields.wrong("amount.minor_units", "must not be negative");
    }
    Some(Money { currency, minor_units })
}

pub(super) fn payment(payment: Payment) -> v1::Payment {
    let state = match payment.state {
        State::Authorized => v1::State::Authorized,
        State::Declined => v1::State::Declined,
        State::Captured => v1::State::Captured,
        State::Voided => v1::State::Voided,
        State::Refunded => v1::State::Refunded,
    };
    v1::Payment {
        payment_id: payment.id.to_string(),
        state: state.into(),
        amount: payment.amount.map(|Money { currency, minor_units }| v1::Money { currency, minor_units }),
        order_id: payment.order_id,
        decline_message: payment.decline_message,
        update_time: Some(timestamp(payment.updated_unix_ms)),
    }
}

fn timestamp(unix_ms: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(unix_ms % 1_000 * 1_000_000).unwrap_or(0),
    }
}
