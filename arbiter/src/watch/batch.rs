//! Commits that readers share, as they are and as bytes.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::domain::{Commit, Revision};

/// Commits as the wire has them, one after the other.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) bytes: Bytes,
    /// Where each of them ends.
    pub(crate) ends: Vec<usize>,
}

/// Commits without gaps, or what a filter left of them; at least one.
#[derive(Debug)]
pub(crate) struct Batch {
    commits: Vec<Arc<Commit>>,
    bytes: usize,
    /// Made by the first reader that needs it, for all of them.
    wire: OnceLock<Wire>,
}

impl Batch {
    /// None where there is no commit.
    pub(super) fn new(commits: Vec<Arc<Commit>>) -> Option<Arc<Self>> {
        let bytes = commits.iter().map(|commit| commit.bytes()).sum();
        (!commits.is_empty()).then(|| Arc::new(Self { commits, bytes, wire: OnceLock::new() }))
    }

    /// About how many bytes it takes in memory, without those of the wire.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first(&self) -> Revision {
        self.commits.first().map_or(0, |commit| commit.revision)
    }

    pub(super) fn last(&self) -> Revision {
        self.commits.last().map_or(0, |commit| commit.revision)
    }

    /// All of its commits.
    pub(super) fn commits(&self) -> &[Arc<Commit>] {
        &self.commits
    }

    /// The commits after a revision, as many as take about `limit_bytes`, but at least one where there is any.
    pub(super) fn after(self: &Arc<Self>, revision: Revision, limit_bytes: usize) -> Option<Part> {
        let begin = self.commits.partition_point(|commit| commit.revision <= revision);
        let mut bytes = 0;
        let fits = self.commits[begin..].iter().take_while(|commit| {
            let fits = bytes == 0 || bytes + commit.bytes() <= limit_bytes;
            bytes += commit.bytes();
            fits
        });
        let end = begin + fits.count();
        (begin < end).then(|| Part { batch: Arc::clone(self), range: begin..end })
    }
}

/// Some commits of a batch; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    batch: Arc<Batch>,
    range: Range<usize>,
}

impl Part {
    /// The commits.
    pub(crate) fn commits(&self) -> &[Arc<Commit>] {
        &self.batch.commits[self.range.clone()]
    }

    /// The revision of the last commit.
    pub(crate) fn last(&self) -> Revision {
        self.commits().last().map_or(0, |commit| commit.revision)
    }

    /// About how many bytes the commits take.
    pub(super) fn bytes(&self) -> usize {
        self.commits().iter().map(|commit| commit.bytes()).sum()
    }

    /// The commits as the wire has them; `encode` is asked for all of the batch, once for all readers.
    pub(crate) fn wire(&self, encode: impl FnOnce(&[Arc<Commit>]) -> Wire) -> Bytes {
        let wire = self.batch.wire.get_or_init(|| encode(&self.batch.commits));
        let end = |count: usize| count.checked_sub(1).and_then(|index| wire.ends.get(index)).copied();
        wire.bytes.slice(end(self.range.start).unwrap_or(0)..end(self.range.end).unwrap_or(0))
    }
}
