//! When which revision was the newest: a few samples, from which follows how long ago, at most, a revision was it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::Revision;

/// More samples are thinned out, so that old times are known less exactly.
const SAMPLES_MAX: usize = 1_024;

/// The newest revision at some times, by the clock that runs since the machine started.
#[derive(Debug)]
pub(super) struct Heads(VecDeque<(Revision, Duration)>);

impl Heads {
    pub(super) fn new(head: Revision, now: Duration) -> Self {
        Self(VecDeque::from([(head, now)]))
    }

    /// Notes what is the newest revision now.
    pub(super) fn observe(&mut self, head: Revision, now: Duration) {
        if let Some(last) = self.0.back_mut().filter(|last| last.0 >= head) {
            last.1 = now;
            return;
        }
        self.0.push_back((head, now));
        if self.0.len() > SAMPLES_MAX {
            let mut place = 0;
            self.0.retain(|_| {
                place += 1;
                // The first one tells how far back anything is known, and the newest ones matter most.
                place % 2 == 1 || place > SAMPLES_MAX / 2
            });
        }
    }

    /// The last time that is known at which no more than a revision was committed. What came after it was committed later.
    pub(super) fn last_at_most(&self, revision: Revision) -> Option<Duration> {
        let after = self.0.partition_point(|(head, _)| *head <= revision);
        after.checked_sub(1).and_then(|place| self.0.get(place)).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn how_long_ago_a_revision_was_the_newest_is_never_told_too_short() {
        let mut heads = Heads::new(5, SECOND);
        heads.observe(5, 2 * SECOND);
        heads.observe(9, 3 * SECOND);
        assert_eq!(heads.last_at_most(4), None, "nothing is known of what was before");
        assert_eq!(heads.last_at_most(5), Some(2 * SECOND), "6 was committed after that");
        assert_eq!(heads.last_at_most(8), Some(2 * SECOND), "8 may have been followed at once");
        assert_eq!(heads.last_at_most(9), Some(3 * SECOND));
    }

    #[test]
    fn memory_is_bounded_and_times_stay_bounds() {
        let mut heads = Heads::new(0, Duration::ZERO);
        for revision in 1..10_000 {
            heads.observe(revision, SECOND * u32::try_from(revision).unwrap());
            assert!(heads.0.len() <= SAMPLES_MAX);
        }
        for revision in 0..10_000 {
            let at = heads.last_at_most(revision).unwrap();
            assert!(at <= SECOND * u32::try_from(revision).unwrap());
        }
        assert_eq!(heads.last_at_most(9_998), Some(SECOND * 9_998));
    }
}
