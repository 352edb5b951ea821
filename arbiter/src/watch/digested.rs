//! Bookmarks with digests, so that a copy can see whether its rows are right.

use std::sync::Arc;

use super::{Event, Filter};
use crate::digests::LiveDigests;
use crate::domain::Revision;

/// Makes such bookmarks for one reader.
#[derive(Debug)]
pub(super) struct Digested {
    digests: Arc<LiveDigests>,
    /// Those that are watched; all where none is named.
    partitions: Vec<u8>,
}

impl Digested {
    pub(super) fn new(digests: &Arc<LiveDigests>, filter: &Filter) -> Self {
        Self { digests: Arc::clone(digests), partitions: filter.partitions.iter().copied().collect() }
    }

    /// A bookmark at a revision; none where the digests have moved on from it.
    pub(super) fn at(&self, revision: Revision) -> Option<Event> {
        let digests = Box::new(self.digests.rows_at(revision)?);
        Some(Event::Digests { revision, partitions: self.partitions.clone(), digests })
    }
}
