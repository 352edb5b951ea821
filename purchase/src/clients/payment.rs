//! The payment provider.

use gameshelf::proto::payment::v1 as wire;
use gameshelf::proto::payment::v1::payment_service_client::PaymentServiceClient;
use gameshelf::proto::payment::v1::{AuthorizeRequest, CaptureRequest, Money, State, VoidRequest};
use mesh::outbound::Calls;

use super::CallError;
use crate::order::{Event, Order, Payment};

/// Asks the payment provider. Cheap to clone. Every call may be repeated: its id is stored with the order.
#[derive(Clone, Debug)]
pub(crate) struct PaymentClient {
    client: PaymentServiceClient<Calls>,
}

impl PaymentClient {
    pub(crate) fn new(calls: Calls, max_message_bytes: usize) -> Self {
        Self { client: PaymentServiceClient::new(calls).max_decoding_message_size(max_message_bytes) }
    }

    /// Reserves the money of an order.
    pub(crate) async fn authorize(&self, order: &Order, payment: &Payment) -> Result<Event, CallError> {
        let request = AuthorizeRequest {
            payment_id: payment.payment_id.to_string(),
            payment_token: payment.token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default(),
            amount: Some(Money {
                currency: payment.amount.currency.clone(),
                minor_units: payment.amount.minor_units,
            }),
            order_id: order.order_id.to_string(),
        };
        let answer = self.client.clone().authorize(request).await?.into_inner();
        match state_of(answer.payment) {
            // Captured: this order's capture was heard of, and the order's row is from before it. The steps that
            // follow are repeats, and find that out.
            State::Authorized | State::Captured => Ok(Event::Authorized),
            // Whoever let the money go, none is reserved.
            State::Declined | State::Voided | State::Refunded => Ok(Event::Declined),
            state @ State::Unspecified => Err(unexpected("an authorization", state)),
        }
    }

    /// Takes the reserved money.
    pub(crate) async fn capture(&self, payment: &Payment) -> Result<Event, CallError> {
        let request = CaptureRequest {
            request_id: payment.capture_request_id.to_string(),
            payment_id: payment.payment_id.to_string(),
        };
        let answer = self.client.clone().capture(request).await?.into_inner();
        match state_of(answer.payment) {
            // Refunded: it was taken, and given back after that.
            State::Captured | State::Refunded => Ok(Event::Captured),
            state => Err(unexpected("a capture", state)),
        }
    }

    /// Lets the reserved money go.
    pub(crate) async fn void(&self, payment: &Payment) -> Result<Event, CallError> {
        let request = VoidRequest {
            request_id: payment.void_request_id.to_string(),
            payment_id: payment.payment_id.to_string(),
        };
        let answer = self.client.clone().void(request).await?.into_inner();
        match state_of(answer.payment) {
            State::Voided | State::Declined => Ok(Event::Voided),
            state => Err(unexpected("a void", state)),
        }
    }
}

fn state_of(payment: Option<wire::Payment>) -> State {
    payment.map(|payment| payment.state()).unwrap_or_default()
}

fn unexpected(call: &str, state: State) -> CallError {
    CallError::Unexpected(format!("the payment is {} after {call}", state.as_str_name()))
}
