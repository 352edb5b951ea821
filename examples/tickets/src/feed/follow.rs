//! Follows the replies: one subscription at the best instance, begun again after the last position when it ends.

use std::sync::Arc;
use std::time::Duration;

use mesh::inbound::Health;
use mesh::outbound::{Dispatch, Streams};
use mesh::version::VERSION_HEADER;
use tonic::{Response, Status, Streaming};

use super::hub::Hub;
use crate::proto::tickets::v1::ticket_service_client::TicketServiceClient;
use crate::proto::tickets::v1::{SubscribeRequest, SubscribeResponse};

const PAUSE_MIN: Duration = Duration::from_millis(20);

/// What follows the replies.
#[derive(Debug)]
pub(super) struct Follower {
    client: TicketServiceClient<Streams>,
    hub: Arc<Hub>,
    health: Health,
    pause_max: Duration,
}

impl Follower {
    pub(super) fn new(tickets: &Dispatch, hub: &Arc<Hub>, health: Health, pause_max: Duration) -> Self {
        Self { client: TicketServiceClient::new(tickets.streams()), hub: Arc::clone(hub), health, pause_max }
    }

    /// Follows for as long as it is polled.
    pub(super) async fn follow(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let after_position = self.hub.position();
            let ended = self.subscription(after_position).await;
            if self.hub.position() > after_position {
                pause = PAUSE_MIN;
            }
            let code = ended.as_ref().err().map(Status::code);
            tracing::info!(
                position = self.hub.position(),
                ?code,
                "the subscription ended; it is begun again"
            );
            tokio::time::sleep(pause.min(self.pause_max)).await;
            pause = (pause * 2).min(self.pause_max);
        }
    }

    async fn subscription(&mut self, after_position: u64) -> Result<(), Status> {
        let response = self.client.subscribe(SubscribeRequest { after_position }).await?;
        let version = version_of(&response);
        let mut replies = response.into_inner();
        tracing::info!(after_position, version, "subscribed");
        self.hub.subscribed();
        // From now on the feed can say what is newest.
        self.health.set_serving(true);
        while let Some(message) = replies.message().await? {
            let Some(reply) = message.reply else { continue };
            let position = reply.position;
            let event = self.hub.deliver(reply, &version);
            tracing::debug!(event, position, version, "a reply was delivered");
        }
        Ok(())
    }
}

fn version_of(response: &Response<Streaming<SubscribeResponse>>) -> String {
    let version = response.metadata().get(VERSION_HEADER.as_str()).and_then(|version| version.to_str().ok());
    version.unwrap_or("unknown").to_owned()
}
