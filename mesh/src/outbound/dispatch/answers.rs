//! How an instance has answered lately: enough to say whether it does well.

use std::time::Instant;

/// The answers that count are those of this many last seconds.
const SECONDS: usize = 10;
/// Of fewer answers nothing can be said.
const ENOUGH: u32 = 10;
/// The share of successes, in percent, from which on an instance does well.
const WELL_PERCENT: u64 = 90;

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Which second since the beginning; a slot whose number is old counts for nothing.
    number: u64,
    seen: u32,
    succeeded: u32,
}

/// The answers of the last ten seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    began: Instant,
    seconds: [Second; SECONDS],
    tried: bool,
}

impl Answers {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, seconds: [Second::default(); SECONDS], tried: false }
    }

    /// An answer came, or failed to.
    pub(super) fn record(&mut self, succeeded: bool, now: Instant) {
        self.tried = true;
        let number = self.number(now);
        let second = &mut self.seconds[slot(number)];
        if second.number != number {
            *second = Second { number, seen: 0, succeeded: 0 };
        }
        second.seen = second.seen.saturating_add(1);
        second.succeeded = second.succeeded.saturating_add(u32::from(succeeded));
    }

    /// Whether the instance does well: at least 90% of its answers succeeded, of at least 10; or it is untried.
    pub(super) fn does_well(&self, now: Instant) -> bool {
        if !self.tried {
            return true;
        }
        let (seen, succeeded) = self.tally(now);
        seen >= ENOUGH && u64::from(succeeded) * 100 >= u64::from(seen) * WELL_PERCENT
    }

    /// The answers seen, and those of them that succeeded.
    pub(super) fn tally(&self, now: Instant) -> (u32, u32) {
        let number = self.number(now);
        let recent = |second: &&Second| number.saturating_sub(second.number) < SECONDS as u64;
        let seconds = self.seconds.iter().filter(recent);
        seconds.fold((0, 0), |(seen, succeeded), second| {
            (second.seen.saturating_add(seen), second.succeeded.saturating_add(succeeded))
        })
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

fn slot(number: u64) -> usize {
    usize::try_from(number % SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::environment::{Clock, SystemClock};

    fn of(answers: &[bool]) -> (Answers, Instant) {
        let now = SystemClock.monotonic();
        let mut all = Answers::new(now);
        for succeeded in answers {
            all.record(*succeeded, now);
        }
        (all, now)
    }

    #[test]
    fn an_instance_does_well_untried_or_by_nine_of_ten() {
        let cases: [(&[bool], bool); 5] = [
            (&[], true),
            (&[true; 9], false),
            (&[true; 10], true),
            (&[true, true, true, true, true, true, true, true, true, false], true),
            (&[true, true, true, true, true, true, true, true, false, false], false),
        ];
        for (answers, well) in cases {
            let (all, now) = of(answers);
            assert_eq!(all.does_well(now), well, "{answers:?}");
        }
    }

    #[test]
    fn what_is_ten_seconds_old_counts_for_nothing_and_is_not_untried() {
        let (all, now) = of(&[true; 20]);
        assert!(all.does_well(now + Duration::from_secs(9)));
        assert!(!all.does_well(now + Duration::from_secs(10)));
    }

    proptest! {
        #[test]
        fn the_tally_is_that_of_the_last_ten_seconds(
            answers in proptest::collection::vec((any::<bool>(), 0u64..4_000), 0..60),
        ) {
            let began = SystemClock.monotonic();
            let (mut all, mut passed_ms) = (Answers::new(began), 0);
            let mut list = Vec::new();
            for (succeeded, wait_ms) in answers {
                passed_ms += wait_ms;
                all.record(succeeded, began + Duration::from_millis(passed_ms));
                list.push((passed_ms / 1000, succeeded));
                let recent = || list.iter().filter(|(second, _)| passed_ms / 1000 - second < 10);
                let expected = (recent().count(), recent().filter(|(_, succeeded)| *succeeded).count());
                let (seen, succeeded) = all.tally(began + Duration::from_millis(passed_ms));
                prop_assert_eq!((seen as usize, succeeded as usize), expected);
            }
        }
    }
}
