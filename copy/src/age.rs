//! How old the copy is: an upper bound that compares no clocks.
//!
//! The copy notes its local time, then asks the arbiter for the head revision. Once it shows that revision it has all
//! that was committed before the question was asked, so its age is at most the time since then. Pure: the time is
//! passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gameshelf::tokens::Token;

/// Whether a state sees what `wanted` stands for. A revision means nothing in another store or incarnation.
#[must_use]
pub fn reached(wanted: Token, state: Token) -> bool {
    wanted.at(0) == state.at(0) && wanted.revision <= state.revision
}

/// The most questions whose answer the copy has not reached yet. A copy that is further behind leaves out later ones,
/// which can only make its age look greater.
const PENDING_MAX: usize = 256;

/// What the arbiter said its head was, and when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The head.
    pub head: Token,
    /// When it was asked for.
    pub asked: Instant,
}

impl Heard {
    /// How old a state is at most; none when the state does not have all of what was heard.
    #[must_use]
    pub fn age_of(&self, state: Token, now: Instant) -> Option<Duration> {
        reached(self.head, state).then(|| now.saturating_duration_since(self.asked))
    }
}

/// Tracks which answer of the arbiter the copy has reached.
#[derive(Debug, Default)]
pub(crate) struct AgeTracker {
    /// In the order of asking, all of one store and incarnation.
    pending: VecDeque<Heard>,
    proof: Option<Heard>,
}

impl AgeTracker {
    /// Notes an answer of the arbiter. `applied` is what the copy shows now.
    pub(crate) fn heard(&mut self, heard: Heard, applied: Option<Token>) {
        if self.pending.back().is_some_and(|last| last.head.at(0) != heard.head.at(0)) {
            self.pending.clear();
        }
        let room = self.pending.len() < PENDING_MAX;
        match self.pending.back_mut() {
            // The same head, heard later, proves more.
            Some(last) if last.head == heard.head => last.asked = last.asked.max(heard.asked),
            _ if room => self.pending.push_back(heard),
            _ => {}
        }
        if let Some(applied) = applied {
            self.applied(applied);
        }
    }

    /// Notes what the copy shows now.
    pub(crate) fn applied(&mut self, applied: Token) {
        while let Some(heard) = self.pending.front().filter(|heard| reached(heard.head, applied)) {
            self.proof = Some(*heard);
            self.pending.pop_front();
        }
    }

    /// The latest answer that the copy has reached.
    pub(crate) fn proof(&self) -> Option<Heard> {
        self.proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::environment::{Clock, SystemClock};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn at(revision: u64) -> Token {
        Token { store_id: Uuid::from_u128(1), incarnation: 1, revision }
    }

    struct Time(Instant);

    impl Time {
        fn new() -> Self {
            Self(SystemClock.monotonic())
        }

        fn ms(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    fn age_ms(tracker: &AgeTracker, state: Token, now: Instant) -> Option<u128> {
        tracker.proof().and_then(|proof| proof.age_of(state, now)).map(|age| age.as_millis())
    }

    #[test]
    fn the_age_counts_from_when_the_arbiter_was_asked() {
        let time = Time::new();
        let mut tracker = AgeTracker::default();
        assert_eq!(age_ms(&tracker, at(5), time.ms(0)), None, "the arbiter was never heard");
        tracker.heard(Heard { head: at(5), asked: time.ms(100) }, Some(at(5)));
        assert_eq!(age_ms(&tracker, at(5), time.ms(350)), Some(250));
        assert_eq!(age_ms(&tracker, at(6), time.ms(400)), Some(300), "nothing was heard since");
    }

    #[test]
    fn an_answer_counts_only_once_the_copy_has_reached_it() {
        let time = Time::new();
        let mut tracker = AgeTracker::default();
        tracker.heard(Heard { head: at(5), asked: time.ms(0) }, Some(at(5)));
        tracker.heard(Heard { head: at(9), asked: time.ms(200) }, Some(at(5)));
        assert_eq!(age_ms(&tracker, at(5), time.ms(300)), Some(300));
        tracker.applied(at(8));
        assert_eq!(age_ms(&tracker, at(8), time.ms(300)), Some(300));
        tracker.applied(at(9));
        assert_eq!(age_ms(&tracker, at(9), time.ms(300)), Some(100));
    }

    #[test]
    fn a_state_that_was_read_before_the_proof_has_no_age_by_it() {
        let time = Time::new();
        let mut tracker = AgeTracker::default();
        tracker.heard(Heard { head: at(9), asked: time.ms(0) }, Some(at(9)));
        assert_eq!(age_ms(&tracker, at(8), time.ms(1)), None);
    }

    #[test]
    fn an_answer_about_another_store_proves_nothing() {
        let time = Time::new();
        let mut tracker = AgeTracker::default();
        let other = Token { store_id: Uuid::from_u128(2), ..at(1) };
        tracker.heard(Heard { head: other, asked: time.ms(0) }, Some(at(9)));
        assert_eq!(age_ms(&tracker, at(9), time.ms(1)), None);
        tracker.applied(other);
        assert_eq!(age_ms(&tracker, other, time.ms(1)), Some(1), "the copy was rebuilt from that store");
        assert_eq!(age_ms(&tracker, at(9), time.ms(1)), None);
    }

    proptest! {
        /// Against a model that keeps every answer: the age is never below what the answers prove, and what is kept is
        /// bounded.
        #[test]
        fn the_age_is_an_upper_bound(steps in prop::collection::vec((any::<bool>(), 0_u64..3), 0..2000)) {
            let time = Time::new();
            let (mut tracker, mut all) = (AgeTracker::default(), Vec::new());
            let (mut head, mut applied, mut now) = (0, 0, 0);
            for (is_probe, number) in steps {
                now += 1;
                head += number;
                if is_probe {
                    all.push((head, now));
                    tracker.heard(Heard { head: at(head), asked: time.ms(now) }, Some(at(applied)));
                } else {
                    applied = head.min(applied + number);
                    tracker.applied(at(applied));
                }
                let proven = all.iter().filter(|(head, _)| *head <= applied).map(|(_, asked)| now - asked).min();
                let told = age_ms(&tracker, at(applied), time.ms(now));
                if let Some(told) = told {
                    prop_assert!(proven.is_some_and(|proven| u128::from(proven) <= told));
                }
                prop_assert!(tracker.pending.len() <= PENDING_MAX);
            }
        }
    }
}
