//! The wire: what the feed keeps as answers, and its events as a stream.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::hub::Hub;
use crate::proto::replyfeed::v1::feed_service_server::FeedService;
use crate::proto::replyfeed::v1::{FollowRequest, FollowResponse, LatestRequest, LatestResponse};

/// Events that may stand between the feed and the connection of a follower, besides those of the queue.
const SENDING_MAX: usize = 16;

/// The feed.
#[derive(Debug)]
pub(super) struct Service {
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
    max_followers: u32,
    follower_events: u32,
    draining: CancellationToken,
}

impl Service {
    pub(super) fn new(hub: &Arc<Hub>, config: &super::Config, draining: CancellationToken) -> Self {
        let places = usize::try_from(config.max_followers).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            hub: Arc::clone(hub),
            places: Arc::new(Semaphore::new(places)),
            max_followers: config.max_followers,
            follower_events: config.follower_events,
            draining,
        }
    }
}

type Message = Result<FollowResponse, Status>;

#[tonic::async_trait]
impl FeedService for Service {
    async fn latest(&self, _: Request<LatestRequest>) -> Result<Response<LatestResponse>, Status> {
        Ok(Response::new(self.hub.latest()))
    }

    type FollowStream = ReceiverStream<Message>;

    async fn follow(&self, _: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(limit(Code::Unavailable, "TOO_MANY_FOLLOWERS", self.max_followers));
        };
        let (out, stream) = mpsc::channel(SENDING_MAX);
        let (begun, events) = self.hub.follow();
        // A new channel has room.
        let _ = out.try_send(Ok(begun));
        let slow = limit(Code::ResourceExhausted, "SLOW_FOLLOWER", self.follower_events);
        tokio::spawn(tell(events, out, slow, self.draining.clone(), place));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Tells a follower of events until it has gone, has fallen behind, or the feed stops.
async fn tell(
    mut events: broadcast::Receiver<FollowResponse>,
    out: mpsc::Sender<Message>,
    slow: Status,
    draining: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = out.closed() => return,
            () = draining.cancelled() => return,
        };
        let message = match event {
            Ok(event) => Ok(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Err(slow.clone()),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let is_end = message.is_err();
        let sent = tokio::select! {
            sent = out.send(message) => sent.is_ok(),
            () = draining.cancelled() => return,
        };
        if is_end || !sent {
            return;
        }
    }
}

fn limit(code: Code, reason: &str, limit: u32) -> Status {
    let metadata = HashMap::from([("limit".to_owned(), limit.to_string())]);
    let message = format!("the limit of {limit} is reached");
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, "replyfeed", metadata))
}
