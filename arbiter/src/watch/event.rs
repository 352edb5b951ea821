//! What readers ask for, and what they are told.

use gameshelf::digest::Digests;

use super::{Filter, Part};
use crate::domain::{Entitlement, Revision};
use crate::store::StoreError;

/// The limits of Watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchLimits {
    /// The most streams and polls at once.
    pub(crate) watchers: usize,
    /// About how many bytes of commits one message holds, and so how many wait for a reader; a larger commit has a message of its
    /// own.
    pub(crate) message_bytes: usize,
    /// The most entitlements in one message of a snapshot, and that one statement reads.
    pub(crate) snapshot_chunk: u32,
    /// About how many bytes of commits that were read from the log are kept for other readers.
    pub(crate) log_cache_bytes: usize,
    /// How long a reader may leave a message untaken, in milliseconds.
    pub(crate) slow_reader_timeout_ms: u64,
    /// The time between bookmarks on an idle stream, in milliseconds.
    pub(crate) bookmark_interval_ms: u64,
    /// How long the log after a snapshot's revision is kept for whoever reads it, in milliseconds.
    pub(crate) snapshot_hold_max_ms: u64,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the state at a revision, or at the newest one.
    Snapshot { as_of: Option<Revision> },
    /// With the first commit after a revision.
    After(Revision),
    /// With the oldest commit that is kept.
    Earliest,
}

/// What a reader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) start: Start,
    pub(crate) filter: Filter,
    /// Whether bookmarks carry digests.
    pub(crate) with_digests: bool,
}

impl Subscription {
    /// Asks for everything from a place on.
    #[cfg(test)]
    pub(crate) fn to_all(start: Start) -> Self {
        Self { start, filter: Filter::default(), with_digests: false }
    }
}

/// What a reader is told.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A part of the state at a revision.
    SnapshotChunk { revision: Revision, entitlements: Vec<Entitlement> },
    /// The state is complete.
    SnapshotEnd { revision: Revision },
    /// Whole commits, in order; at least one part.
    Commits(Vec<Part>),
    /// Nothing at or below the revision is still to come.
    Bookmark { revision: Revision },
    /// A bookmark at a revision at which these partitions have these row digests; all partitions where none is named.
    Digests { revision: Revision, partitions: Vec<u8>, digests: Box<Digests> },
}

/// Why a reader is told nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// As many streams are open as may be.
    #[error("at most {limit} streams and polls may be open")]
    TooMany { limit: usize },
    /// The reader took nothing for too long.
    #[error("the reader took no message for {limit_ms} ms; resume by the last token")]
    SlowReader { limit_ms: u64 },
    /// Commits that the reader needs next are not kept any more.
    #[error(
        "commits after revision {after} are no longer kept: the oldest revision to resume after is {oldest}; begin with a \
         snapshot"
    )]
    Compacted { after: Revision, oldest: Revision },
    /// The service stops.
    #[error("the arbiter is stopping; resume by the last token")]
    Draining,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}
