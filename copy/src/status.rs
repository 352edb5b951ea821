//! What the tasks that follow the arbiter know, shared with those that answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gameshelf::tokens::Token;
use mesh::environment::Clock;
use tokio::sync::{Notify, watch};

use crate::age::{AgeTracker, Heard, reached};
use crate::source::RebuildCause;

/// How the stream from the arbiter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// There is none.
    #[default]
    Down,
    /// A snapshot is being gathered; what is served meanwhile is the copy from before.
    Building,
    /// Commits are followed.
    Following,
}

/// What a copy knows of its own rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestState {
    /// Not all of them were compared yet.
    #[default]
    Unknown,
    /// They were as the arbiter says when they were compared last.
    Equal,
    /// Some were not, and are being mended.
    Different,
}

#[derive(Debug, Default)]
struct Inner {
    link: Link,
    applied: Option<Token>,
    heard: Option<Heard>,
    ages: AgeTracker,
    rebuilding: Option<RebuildCause>,
    repaired_partitions: u64,
}

/// The state of the copy. Shared; every call is short and none waits.
#[derive(Debug)]
pub struct Status {
    inner: Mutex<Inner>,
    answerable: watch::Sender<bool>,
    /// Changes with each commit that is shown.
    shown: watch::Sender<Option<Token>>,
    digest_state: watch::Sender<DigestState>,
    linked: Notify,
    overdue: Duration,
}

/// The state of the copy as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The revision that it shows.
    pub revision: Option<u64>,
    /// How many revisions the arbiter was ahead when it was last heard.
    pub lag: Option<u64>,
    /// How old it is at most.
    pub age: Option<Duration>,
}

impl Status {
    /// `overdue` is how long the arbiter may be silent before answers are told to be degraded; `applied` what the copy
    /// shows at the start.
    pub(crate) fn new(applied: Option<Token>, overdue: Duration) -> Self {
        let inner = Mutex::new(Inner { applied, ..Inner::default() });
        Self {
            inner,
            answerable: watch::Sender::new(applied.is_some()),
            shown: watch::Sender::new(applied),
            digest_state: watch::Sender::default(),
            linked: Notify::new(),
            overdue,
        }
    }

    // Every change under the lock is complete before anything can panic, so a poisoned lock holds good data.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the stream stands, and returns how it stood before.
    pub(crate) fn set_link(&self, link: Link) -> Link {
        let before = std::mem::replace(&mut self.inner().link, link);
        if before == Link::Down && link != Link::Down {
            self.answerable.send_replace(true);
            self.linked.notify_one();
        }
        before
    }

    /// Notes what the copy shows, after it was committed.
    pub(crate) fn applied(&self, token: Token) {
        let mut inner = self.inner();
        inner.applied = Some(token);
        inner.ages.applied(token);
        drop(inner);
        self.shown.send_replace(Some(token));
        self.answerable.send_replace(true);
    }

    /// Notes what the arbiter said.
    pub(crate) fn heard(&self, heard: Heard) {
        let mut inner = self.inner();
        let applied = inner.applied;
        inner.heard = Some(heard);
        inner.ages.heard(heard, applied);
        drop(inner);
        self.answerable.send_replace(true);
    }

    /// Notes why the copy is being built from a snapshot, or that it is complete.
    pub(crate) fn set_rebuilding(&self, cause: Option<RebuildCause>) {
        self.inner().rebuilding = cause;
    }

    /// Notes what is known of the rows.
    pub(crate) fn set_digest_state(&self, state: DigestState) {
        self.digest_state.send_if_modified(|known| std::mem::replace(known, state) != state);
    }

    /// Notes that a partition was mended.
    pub(crate) fn repaired(&self) {
        self.inner().repaired_partitions += 1;
    }

    /// Tells when what is known of the rows changes.
    pub(crate) fn digest_news(&self) -> watch::Receiver<DigestState> {
        self.digest_state.subscribe()
    }

    /// What the copy shows; none before the first snapshot was complete.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Token> {
        self.inner().applied
    }

    /// How the stream from the arbiter stands.
    #[must_use]
    pub fn link(&self) -> Link {
        self.inner().link
    }

    /// Why the copy is being built anew; none while it need not be. What is served meanwhile is the copy from before.
    #[must_use]
    pub fn rebuilding(&self) -> Option<RebuildCause> {
        self.inner().rebuilding
    }

    /// What the copy knows of its own rows.
    #[must_use]
    pub fn digest_state(&self) -> DigestState {
        *self.digest_state.borrow()
    }

    /// How many partitions were mended since the start.
    #[must_use]
    pub fn repaired_partitions(&self) -> u64 {
        self.inner().repaired_partitions
    }

    /// Waits until the copy sees what `wanted` stands for. It may never come to that: whoever waits sets a limit.
    pub async fn reached(&self, wanted: Token) {
        let mut shown = self.shown.subscribe();
        // It cannot be closed while `self` lives.
        let _ = shown.wait_for(|shown| shown.is_some_and(|shown| reached(wanted, shown))).await;
    }

    /// The answer of the arbiter that the copy has reached. Taken before a read, it bounds the age of what is read.
    #[must_use]
    pub fn proof(&self) -> Option<Heard> {
        self.inner().ages.proof()
    }

    /// Whether the arbiter cannot be reached now, so that an answer from the copy is weaker than it would be.
    #[must_use]
    pub fn is_degraded(&self, now: Instant) -> bool {
        let inner = self.inner();
        let silent = |heard: Heard| now.saturating_duration_since(heard.asked) > self.overdue;
        inner.link != Link::Following || inner.heard.is_none_or(silent)
    }

    /// The state as numbers.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Figures {
        let inner = self.inner();
        let head = inner.heard.map(|heard| heard.head);
        let same_store = head.zip(inner.applied).filter(|(head, applied)| head.at(0) == applied.at(0));
        Figures {
            revision: inner.applied.map(|applied| applied.revision),
            lag: same_store.map(|(head, applied)| head.revision.saturating_sub(applied.revision)),
            age: inner
                .ages
                .proof()
                .zip(inner.applied)
                .and_then(|(proof, applied)| proof.age_of(applied, now)),
        }
    }

    /// Waits until the copy is followed and its age is known.
    pub async fn followed(&self, clock: &dyn Clock) {
        let mut news = self.answerable.subscribe();
        while self.is_degraded(clock.monotonic()) || self.proof().is_none() {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until something can be answered: a copy exists, or the arbiter was reached.
    pub async fn answerable(&self) {
        let mut answerable = self.answerable.subscribe();
        // It cannot be closed while `self` lives.
        let _ = answerable.wait_for(|answerable| *answerable).await;
    }

    /// Waits until the stream comes up. For one task.
    pub(crate) async fn linked(&self) {
        self.linked.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::environment::{Clock, SystemClock};
    use uuid::Uuid;

    fn at(revision: u64) -> Token {
        Token { store_id: Uuid::from_u128(1), incarnation: 1, revision }
    }

    #[test]
    fn only_a_copy_that_follows_an_arbiter_that_answers_is_not_degraded() {
        let start = SystemClock.monotonic();
        let ms = |ms| start + Duration::from_millis(ms);
        let status = Status::new(Some(at(1)), Duration::from_millis(100));
        assert!(status.is_degraded(start), "there is no stream");
        status.set_link(Link::Following);
        assert!(status.is_degraded(start), "the arbiter was never heard");
        status.heard(Heard { head: at(1), asked: start });
        assert!(!status.is_degraded(ms(100)));
        assert!(status.is_degraded(ms(101)), "the arbiter is silent");
        status.set_link(Link::Building);
        assert!(status.is_degraded(start), "the copy is of before");
    }

    #[test]
    fn the_lag_is_told_within_one_store_only() {
        let start = SystemClock.monotonic();
        let status = Status::new(Some(at(3)), Duration::from_millis(100));
        status.heard(Heard { head: at(7), asked: start });
        let figures = Figures { revision: Some(3), lag: Some(4), age: None };
        assert_eq!(status.figures(start), figures);
        status.heard(Heard { head: Token { incarnation: 2, ..at(7) }, asked: start });
        assert_eq!(status.figures(start), Figures { lag: None, ..figures });
    }
}
