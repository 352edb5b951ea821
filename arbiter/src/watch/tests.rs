//! What Watch promises, on both stores, by streams and by polls.

mod filters;
mod guarantees;
mod limits;
mod trimming;
mod world;

use std::time::Duration;

use super::{Event, Part, Start, Subscription, WatchError, WatchLimits, WatchStream};
use crate::domain::{Commit, Revision};

const LIMITS: WatchLimits = WatchLimits {
    watchers: 2,
    message_bytes: 500,
    snapshot_chunk: 3,
    log_cache_bytes: 2_000,
    slow_reader_timeout_ms: 60_000,
    bookmark_interval_ms: 20,
    snapshot_hold_max_ms: 60_000,
};

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// The next event.
async fn next(stream: &mut WatchStream) -> Result<Event, WatchError> {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("something is told");
    next.expect("the stream goes on")
}

/// Reads commits until one has this revision.
async fn read_to(stream: &mut WatchStream, revision: Revision) -> Vec<Commit> {
    let mut read: Vec<Commit> = Vec::new();
    while read.last().is_none_or(|commit| commit.revision < revision) {
        if let Event::Commits(parts) = next(stream).await.expect("no error") {
            read.extend(commits(&parts));
        }
    }
    read
}

/// The commits of an event.
fn commits(parts: &[Part]) -> impl Iterator<Item = Commit> {
    parts.iter().flat_map(Part::commits).map(|commit| (**commit).clone())
}
