//! What the feed keeps, and those who follow it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::kept::Kept;
use crate::proto::replyfeed::v1::{FollowResponse, LatestResponse};
use crate::proto::tickets::v1::Reply;

/// Shared by the subscription and the handlers.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    /// A queue of fixed length: a follower that falls behind loses its place, and holds up nobody.
    events: broadcast::Sender<FollowResponse>,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    subscriptions: u64,
}

impl Hub {
    pub(super) fn new(replies: u32, follower_events: u32) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (events, _) = broadcast::channel(size(follower_events));
        Self { state: Mutex::new(State { kept: Kept::new(size(replies)), subscriptions: 0 }), events }
    }

    /// A subscription began.
    pub(super) fn subscribed(&self) {
        self.state().subscriptions += 1;
    }

    /// The position to go on after.
    pub(super) fn position(&self) -> u64 {
        self.state().kept.position
    }

    /// A reply was delivered by this version: the number of the event.
    pub(super) fn deliver(&self, reply: Reply, version: &str) -> u64 {
        let mut state = self.state();
        let event = state.kept.deliver(reply.clone());
        // Under the lock, so that followers hear of events in order. An error says that there are none.
        let _ = self.events.send(FollowResponse { event, reply: Some(reply), version: version.to_owned() });
        event
    }

    /// What was before now, as the first message, and every event from now on.
    pub(super) fn follow(&self) -> (FollowResponse, broadcast::Receiver<FollowResponse>) {
        let state = self.state();
        let begun = FollowResponse { event: state.kept.events, ..FollowResponse::default() };
        (begun, self.events.subscribe())
    }

    pub(super) fn latest(&self) -> LatestResponse {
        let state = self.state();
        LatestResponse {
            replies: state.kept.replies.iter().cloned().collect(),
            position: state.kept.position,
            events: state.kept.events,
            out_of_order: state.kept.out_of_order,
            subscriptions: state.subscriptions,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
