//! Polls: what a stream tells, piece by piece, for networks that cut streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::digested::Digested;
use super::engine::{Engine, Position, Step};
use super::{Event, Filter, Start, WatchError, Watches};

/// The most steps without anything to tell that one poll takes: an answer is owed in time.
const MOVES_MAX: u32 = 64;

/// What one poll asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Poll {
    pub(crate) from: PollFrom,
    pub(crate) filter: Filter,
    /// How long to wait while there is nothing to tell.
    pub(crate) wait: Duration,
    /// Whether bookmarks carry digests.
    pub(crate) with_digests: bool,
}

impl Poll {
    /// Asks for a snapshot and what comes after it.
    #[cfg(test)]
    pub(crate) fn of(filter: Filter) -> Self {
        let from = PollFrom::Start(Start::Snapshot { as_of: None });
        Self { from, filter, wait: Duration::ZERO, with_digests: false }
    }
}

/// Where a poll begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PollFrom {
    Start(Start),
    Position(Position),
}

/// What one poll is told.
#[derive(Debug)]
pub(crate) struct Polled {
    /// At least one event; together they are of a bounded size.
    pub(crate) events: Vec<Event>,
    /// Where the next poll goes on.
    pub(crate) position: Position,
}

impl Watches {
    /// Answers one poll.
    ///
    /// # Errors
    ///
    /// As a stream ends with, and [`WatchError::TooMany`].
    pub(crate) async fn poll(&self, poll: Poll) -> Result<Polled, WatchError> {
        let _slot = self.readers.slot()?;
        let position = match poll.from {
            PollFrom::Start(start) => self.position(start),
            PollFrom::Position(position) => position,
        };
        let digested = poll.with_digests.then(|| Digested::new(&self.digests, &poll.filter));
        let mut engine = Engine::new(Arc::clone(&self.source), self.limits, poll.filter, position);
        if let Some(at) = engine.snapshot_at() {
            self.readers.hold(at, self.source.hub.mark());
        }
        if let Some(after) = engine.snapshot_at().or(engine.reached()) {
            self.source.check_kept(after)?;
        }
        let give_up = Instant::now() + poll.wait;
        let mut events = tokio::select! {
            biased;
            () = self.draining.cancelled() => Err(WatchError::Draining),
            events = events(&mut engine, give_up) => events,
        }?;
        // A reader that has all there is can compare itself, however short the answers follow each other.
        if let (Some(digested), Some(reached)) = (digested, engine.reached())
            && let Some(bookmark) = digested.at(reached)
        {
            if matches!(events[..], [Event::Bookmark { .. }]) {
                events.clear();
            }
            events.push(bookmark);
        }
        Ok(Polled { events, position: engine.position().clone() })
    }
}

async fn events(engine: &mut Engine, give_up: Instant) -> Result<Vec<Event>, WatchError> {
    let mut head = engine.source.hub.subscribe();
    let mut moves = 0;
    while moves < MOVES_MAX {
        match engine.step().await? {
            Step::Event(event) => {
                let mut events = vec![event];
                // The end of a snapshot takes no room of its own.
                if matches!(engine.position(), Position::SnapshotEnd { .. })
                    && let Step::Event(end) = engine.step().await?
                {
                    events.push(end);
                }
                return Ok(events);
            }
            Step::Moved => moves += 1,
            Step::AtHead => match timeout_at(give_up, engine.woken(&mut head)).await {
                Ok(woken) => woken?,
                Err(_) => break,
            },
        }
    }
    // The reader is told how far it came, even where that is not far.
    let event = match (engine.snapshot_at(), engine.reached()) {
        (Some(revision), _) => Event::SnapshotChunk { revision, entitlements: Vec::new() },
        (None, revision) => {
            Event::Bookmark { revision: revision.unwrap_or_else(|| engine.source.hub.mark()) }
        }
    };
    Ok(vec![event])
}
