//! The newest commits in memory, the newest revision, and the oldest that a reader may resume after.

mod narrow;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::batch::{Batch, Part};
use crate::domain::{Commit, CustomerId, Revision};

use narrow::Index;
pub(super) use narrow::NarrowReader;

/// Where the sequencer publishes commits once they are on the disk.
#[derive(Debug)]
pub(crate) struct Hub {
    head: watch::Sender<Revision>,
    /// What was committed up to it may have left the log.
    mark: AtomicU64,
    /// What was committed up to it is about to leave the log; 0 where nothing is.
    leaving: AtomicU64,
    /// The log after it is kept, whatever its age.
    kept_after: AtomicU64,
    /// Whether that alone stood in the way of trimming.
    keeps_too_much: AtomicBool,
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Recent {
    /// Without gaps; the last one is the newest.
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    limit_bytes: usize,
    /// Who waits for commits of few customers.
    index: Index,
}

impl Hub {
    /// A hub at a revision, which keeps at most about `limit_bytes` of commits in memory.
    pub(crate) fn new(head: Revision, limit_bytes: usize) -> Self {
        let recent = Recent { batches: VecDeque::new(), bytes: 0, limit_bytes, index: Index::default() };
        Self {
            head: watch::Sender::new(head),
            mark: AtomicU64::new(0),
            leaving: AtomicU64::new(0),
            kept_after: AtomicU64::new(Revision::MAX),
            keeps_too_much: AtomicBool::new(false),
            recent: Mutex::new(recent),
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision that was acknowledged, or is about to be.
    pub(crate) fn head(&self) -> Revision {
        *self.head.borrow()
    }

    /// A way to wait for the next revision.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.head.subscribe()
    }

    /// The oldest revision that a reader may resume after.
    pub(crate) fn mark(&self) -> Revision {
        self.mark.load(Ordering::SeqCst)
    }

    /// Raises that revision. It is in the store by then, and nothing is deleted before.
    pub(crate) fn raise_mark(&self, mark: Revision) {
        self.mark.fetch_max(mark, Ordering::SeqCst);
    }

    /// Tells whoever begins from now on what is about to leave the log; 0 where nothing is any more.
    pub(super) fn set_leaving(&self, mark: Revision) {
        self.leaving.store(mark, Ordering::SeqCst);
    }

    /// The oldest revision that a reader may begin after now: what is about to leave the log is not promised to it.
    pub(super) fn oldest_begin(&self) -> Revision {
        self.mark().max(self.leaving.load(Ordering::SeqCst))
    }

    /// Keeps the log after a revision, whatever its age, until it is called again: somebody else begins to read there.
    pub(crate) fn keep_after(&self, revision: Revision) {
        self.kept_after.store(revision, Ordering::SeqCst);
    }

    /// The revision after which somebody asked for the log to be kept; the last one of all where nobody did.
    pub(super) fn kept_after(&self) -> Revision {
        self.kept_after.load(Ordering::SeqCst)
    }

    /// Asks whoever keeps the log to keep less of it.
    pub(super) fn ask_to_keep_less(&self) {
        self.keeps_too_much.store(true, Ordering::SeqCst);
    }

    /// Whether that was asked since this was called last.
    pub(crate) fn take_asked_to_keep_less(&self) -> bool {
        self.keeps_too_much.swap(false, Ordering::SeqCst)
    }

    /// Makes commits known that are on the disk.
    pub(crate) fn publish(&self, commits: Vec<Commit>) {
        let Some(batch) = Batch::new(commits.into_iter().map(Arc::new).collect()) else { return };
        let last = batch.last();
        let mut recent = self.recent();
        recent.push(Arc::clone(&batch));
        // All under one lock, so that a reader of few customers never sees the new head without what concerns it.
        self.head.send_replace(last);
        recent.index.tell(&batch);
    }

    /// Goes on from a revision that was committed, but whose commits are not at hand: they are in the store's log.
    pub(crate) fn advance(&self, head: Revision) {
        let before = self.head();
        if head > before {
            let mut recent = self.recent();
            recent.batches.clear();
            recent.bytes = 0;
            self.head.send_replace(head);
            recent.index.tell_all(before + 1);
        }
    }

    /// The commits after a revision, at most about `limit_bytes` of them, or none when they are not all in memory.
    pub(crate) fn after(&self, revision: Revision, limit_bytes: usize) -> Option<Vec<Part>> {
        let recent = self.recent();
        if revision + 1 < recent.batches.front()?.first() {
            return None;
        }
        let begin = recent.batches.partition_point(|batch| batch.last() <= revision);
        let mut parts: Vec<Part> = Vec::new();
        let mut bytes = 0;
        for batch in recent.batches.iter().skip(begin) {
            let left = limit_bytes.saturating_sub(bytes);
            let Some(part) = batch.after(revision, left) else { break };
            let part_bytes = part.bytes();
            if !parts.is_empty() && part_bytes > left {
                break;
            }
            bytes += part_bytes;
            let is_whole = part.last() == batch.last();
            parts.push(part);
            if !is_whole {
                break;
            }
        }
        Some(parts)
    }

    /// Registers a reader of these customers alone, who has what was committed up to the newest revision or has it to read.
    pub(super) fn register(
        &self,
        customers: impl Iterator<Item = CustomerId>,
        reached: Revision,
    ) -> Arc<NarrowReader> {
        self.recent().index.register(customers, reached)
    }

    /// Forgets a reader.
    pub(super) fn forget(&self, reader: &Arc<NarrowReader>) {
        self.recent().index.forget(reader);
    }

    /// The newest revision, and from which one on a reader may have something to read.
    pub(super) fn unread(&self, reader: &NarrowReader) -> (Revision, Option<Revision>) {
        let _recent = self.recent();
        (self.head(), reader.unread())
    }

    /// Notes that a reader has read all that concerns it up to a revision.
    pub(super) fn has_read(&self, reader: &NarrowReader, reached: Revision) {
        let _recent = self.recent();
        reader.has_read(reached, self.head());
    }
}

impl Recent {
    fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        while self.bytes > self.limit_bytes {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
