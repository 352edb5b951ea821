//! The arbiter, which alone says who owns a game.

use gameshelf::errors;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use mesh::outbound::Calls;
use tonic::Status;

use super::CallError;
use crate::order::{Event, Grant, NotGranted, Order};

/// Who the arbiter's history names for a grant.
const ACTOR: &str = "purchase";

/// Asks the arbiter. Cheap to clone. Every call may be repeated: its id is stored with the order.
#[derive(Clone, Debug)]
pub(crate) struct ArbiterClient {
    client: ArbiterServiceClient<Calls>,
}

impl ArbiterClient {
    pub(crate) fn new(calls: Calls, max_message_bytes: usize) -> Self {
        Self { client: ArbiterServiceClient::new(calls).max_decoding_message_size(max_message_bytes) }
    }

    /// Gives the customer the game. A refusal is definite: had this order's own request granted the game before, the
    /// arbiter would repeat that outcome.
    pub(crate) async fn grant(&self, order: &Order) -> Result<Event, CallError> {
        let request = wire::GrantRequest {
            request_id: order.grant_request_id.to_string(),
            customer_id: order.customer_id.to_string(),
            game_ids: vec![order.game_id.to_string()],
            on_owned: wire::OnOwned::Refuse.into(),
            cause: Some(wire::Cause {
                reason: wire::Reason::Purchase.into(),
                actor: ACTOR.to_owned(),
                order_id: order.order_id.to_string(),
            }),
            ..wire::GrantRequest::default()
        };
        match self.client.clone().grant(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                Ok(Event::Granted(Grant { revision: answer.revision, token: answer.token }))
            }
            Err(status) => match errors::reason_of(&status).and_then(NotGranted::of) {
                Some(why) => Ok(Event::NotGranted(why, judged_at(&status))),
                None => Err(status.into()),
            },
        }
    }
}

/// The revision at which a refusal was judged, where the arbiter says it.
fn judged_at(status: &Status) -> Option<Grant> {
    let revision = errors::metadata_of(status, "revision")?.parse().ok()?;
    Some(Grant { revision, token: errors::metadata_of(status, "token").unwrap_or_default() })
}
