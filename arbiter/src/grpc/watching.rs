//! How changes are followed: the core's side of Watch and of polls.

use gameshelf::fields::Fields;
use gameshelf::proto::arbiter::v1 as wire;
use tonic::Status;

use super::core::Core;
use super::cursor::CursorScope;
use super::errors;
use super::requests::{PollChanges, PollStart, Watch, WatchStart};
use super::responses;
use crate::copies::Connected;
use crate::watch::{Poll, PollFrom, Start, Subscription, WatchStream};

impl Core {
    /// Opens a stream. The copy that is kept by it counts as connected as long as the second lives.
    pub(super) fn watch(&self, watch: Watch) -> Result<(WatchStream, Option<Connected>), Status> {
        let Watch { start, filter, copy_name, with_digests } = watch;
        let subscription = Subscription { start: self.watch_start(start)?, filter, with_digests };
        let stream = self.watches.open(subscription).map_err(|error| errors::watch(&error))?;
        let connected = copy_name.map(|name| self.copies.connected(name)).transpose();
        Ok((stream, connected.map_err(errors::too_many_copies)?))
    }

    /// Answers one poll.
    pub(super) async fn poll_changes(&self, poll: PollChanges) -> Result<wire::PollChangesResponse, Status> {
        let scope = CursorScope::new(self.identity, &poll.filter);
        let from = match poll.start {
            PollStart::At(start) => PollFrom::Start(self.watch_start(start)?),
            PollStart::Cursor(cursor) => {
                let mut fields = Fields::new();
                let decoded = fields.take("cursor", scope.decode(&cursor));
                let (token, position) = fields.finish(decoded)?;
                self.check_token(token, self.hub.head())?;
                PollFrom::Position(position)
            }
        };
        let PollChanges { filter, wait, copy_name, with_digests, .. } = poll;
        if let Some(name) = copy_name {
            self.copies.seen(&name).map_err(errors::too_many_copies)?;
        }
        let poll = Poll { from, filter, wait, with_digests };
        let polled = self.watches.poll(poll).await.map_err(|error| errors::watch(&error))?;
        Ok(wire::PollChangesResponse {
            events: polled.events.into_iter().map(|event| responses::event(event, self.identity)).collect(),
            cursor: scope.encode(&polled.position),
        })
    }

    fn watch_start(&self, start: WatchStart) -> Result<Start, Status> {
        let (WatchStart::After(token) | WatchStart::Snapshot(Some(token))) = start else {
            return Ok(match start {
                WatchStart::Earliest => Start::Earliest,
                _ => Start::Snapshot { as_of: None },
            });
        };
        self.check_token(token, self.hub.head())?;
        Ok(match start {
            WatchStart::Snapshot(_) => Start::Snapshot { as_of: Some(token.revision) },
            _ => Start::After(token.revision),
        })
    }
}
