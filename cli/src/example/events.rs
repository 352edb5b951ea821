//! The events of the feed, told as they come.

use std::net::SocketAddr;
use std::time::Duration;

use mesh::environment::Environment;
use mesh::outbound::{Outbound, OutboundConfig};
use serde_json::json;
use tickets::proto::replyfeed::v1::feed_service_client::FeedServiceClient;
use tickets::proto::replyfeed::v1::{FollowRequest, FollowResponse, LatestRequest, LatestResponse};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::log::Log;
use crate::exit::Failure;

const NAME: &str = "reply-feed";

/// Follows the feed, and knows how many events it has told.
#[derive(Debug)]
pub(super) struct Events {
    outbound: Outbound,
    told: watch::Receiver<u64>,
    _following: AbortOnDropHandle<()>,
}

impl Events {
    /// Begins to follow; what comes from now on is told.
    pub(super) async fn follow(
        address: SocketAddr,
        environment: &Environment,
        log: &Log,
    ) -> Result<Self, Failure> {
        let outbound = Outbound::new(NAME, &address.into(), &OutboundConfig::default(), environment);
        let mut client = FeedServiceClient::new(outbound.streams());
        let stream = client.follow(FollowRequest {}).await.map_err(|status| failed(&status))?;
        let (sender, told) = watch::channel(0);
        let following = tokio::spawn(tell(stream.into_inner(), sender, log.clone()));
        Ok(Self { outbound, told, _following: AbortOnDropHandle::new(following) })
    }

    /// How many were told, once that is so many, or it has taken too long.
    pub(super) async fn told(&mut self, expected: u64, wait: Duration) -> u64 {
        let enough = self.told.wait_for(|told| *told >= expected);
        // Whichever it is, what counts is how many it is.
        let _ = tokio::time::timeout(wait, enough).await;
        *self.told.borrow()
    }

    /// What the feed says of itself.
    pub(super) async fn latest(&self) -> Result<LatestResponse, Failure> {
        let mut client = FeedServiceClient::new(self.outbound.calls());
        let latest = client.latest(LatestRequest {}).await.map_err(|status| failed(&status))?;
        Ok(latest.into_inner())
    }
}

fn failed(status: &Status) -> Failure {
    Failure::from_status(NAME, status)
}

async fn tell(mut stream: Streaming<FollowResponse>, told: watch::Sender<u64>, log: Log) {
    while let Ok(Some(event)) = stream.message().await {
        // The first message says only that it has begun.
        let Some(reply) = event.reply else { continue };
        let line = json!({ "event": {
            "number": event.event,
            "position": reply.position,
            "ticket_id": reply.ticket_id,
            "author": reply.author,
            "text": reply.text,
            "version": event.version,
        } });
        let text = || {
            format!(
                "event {}: {} replied to ticket {}: {} (by {})",
                event.event, reply.author, reply.ticket_id, reply.text, event.version
            )
        };
        // Nobody who reads is left: the work itself finds out too.
        if log.tell(&line, text).is_err() {
            return;
        }
        told.send_modify(|told| *told += 1);
    }
}
