//! The newest commits in memory, and the newest revision.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::domain::{Commit, Revision};

/// Where the sequencer publishes commits once they are on the disk.
#[derive(Debug)]
pub(crate) struct Hub {
    head: watch::Sender<Revision>,
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Recent {
    /// Without gaps; the last one is the newest commit.
    commits: VecDeque<Arc<Commit>>,
    bytes: usize,
    limit_bytes: usize,
}

impl Hub {
    /// A hub at a revision, which keeps at most `limit_bytes` of commits in memory.
    pub(crate) fn new(head: Revision, limit_bytes: usize) -> Self {
        let recent = Recent { commits: VecDeque::new(), bytes: 0, limit_bytes };
        Self { head: watch::Sender::new(head), recent: Mutex::new(recent) }
    }

    /// The newest revision that was acknowledged, or is about to be.
    pub(crate) fn head(&self) -> Revision {
        *self.head.borrow()
    }

    /// A way to wait for the next revision.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.head.subscribe()
    }

    /// Makes commits known that are on the disk.
    pub(crate) fn publish(&self, commits: Vec<Commit>) {
        let Some(last) = commits.last().map(|commit| commit.revision) else { return };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for commit in commits {
            recent.push(Arc::new(commit));
        }
        drop(recent);
        self.head.send_replace(last);
    }

    /// Goes on from a revision that was committed, but whose commits are not at hand: they are in the store's log.
    pub(crate) fn advance(&self, head: Revision) {
        if head > self.head() {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.commits.clear();
            recent.bytes = 0;
            drop(recent);
            self.head.send_replace(head);
        }
    }

    /// The commits after a revision, at most about `limit_bytes` of them, or none when they are not all in memory.
    pub(crate) fn after(&self, revision: Revision, limit_bytes: usize) -> Option<Vec<Arc<Commit>>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let first = recent.commits.front()?.revision;
        if revision + 1 < first {
            return None;
        }
        let skip = usize::try_from(revision + 1 - first).ok()?;
        let mut bytes = 0;
        let taken = recent.commits.iter().skip(skip).take_while(|commit| {
            let fits = bytes == 0 || bytes + commit.bytes() <= limit_bytes;
            bytes += commit.bytes();
            fits
        });
        Some(taken.cloned().collect())
    }
}

impl Recent {
    fn push(&mut self, commit: Arc<Commit>) {
        self.bytes += commit.bytes();
        self.commits.push_back(commit);
        while self.bytes > self.limit_bytes {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, Reason, RequestId};

    fn commits(revisions: std::ops::RangeInclusive<Revision>) -> Vec<Commit> {
        let cause = Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() });
        let commit = |revision| Commit {
            revision,
            request_id: RequestId::new_v7(revision, [0; 10]),
            committed_at_ms: 0,
            cause: cause.clone(),
            changes: Vec::new(),
            traceparent: String::new(),
        };
        revisions.map(commit).collect()
    }

    fn revisions(commits: Option<Vec<Arc<Commit>>>) -> Option<Vec<Revision>> {
        Some(commits?.iter().map(|commit| commit.revision).collect())
    }

    #[test]
    fn what_is_in_memory_is_given_from_any_place() {
        let hub = Hub::new(4, usize::MAX);
        hub.publish(commits(5..=8));
        assert_eq!(hub.head(), 8);
        assert_eq!(revisions(hub.after(4, usize::MAX)), Some(vec![5, 6, 7, 8]));
        assert_eq!(revisions(hub.after(6, usize::MAX)), Some(vec![7, 8]));
        assert_eq!(revisions(hub.after(8, usize::MAX)), Some(vec![]));
        assert_eq!(revisions(hub.after(3, usize::MAX)), None, "revision 4 is in the log only");
    }

    #[test]
    fn at_least_one_commit_is_given_however_large() {
        let hub = Hub::new(0, usize::MAX);
        hub.publish(commits(1..=3));
        assert_eq!(revisions(hub.after(0, 1)), Some(vec![1]));
    }

    #[test]
    fn memory_is_bounded() {
        let hub = Hub::new(0, 3 * commits(1..=1)[0].bytes());
        hub.publish(commits(1..=10));
        assert_eq!(revisions(hub.after(7, usize::MAX)), Some(vec![8, 9, 10]));
        assert_eq!(revisions(hub.after(6, usize::MAX)), None);
    }

    #[test]
    fn a_leap_forgets_what_is_no_longer_without_gaps() {
        let hub = Hub::new(0, usize::MAX);
        hub.publish(commits(1..=2));
        hub.advance(5);
        assert_eq!((hub.head(), revisions(hub.after(1, usize::MAX))), (5, None));
        hub.publish(commits(6..=6));
        assert_eq!(revisions(hub.after(5, usize::MAX)), Some(vec![6]));
    }
}
