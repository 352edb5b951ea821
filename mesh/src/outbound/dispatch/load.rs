//! How loaded an instance looks from here: the peak of its latencies, which fades with time, and how many calls are
//! with it now.
//!
//! The peak rises at once, so that one slow answer is enough to be avoided; it falls slowly, so that one quick answer is
//! not enough to be trusted again. Without news it falls as well, or an instance that was slow once would never be asked
//! again.

use std::time::{Duration, Instant};

/// The peak of latencies, exponentially fading (peak EWMA).
#[derive(Clone, Copy, Debug)]
pub(super) struct PeakEwma {
    seconds: f64,
    updated: Instant,
    decay: Duration,
}

impl PeakEwma {
    /// `initial` is what an instance counts with before it has answered; after each `decay` a third is left of what was.
    pub(super) fn new(initial: Duration, decay: Duration, now: Instant) -> Self {
        Self { seconds: initial.as_secs_f64(), updated: now, decay }
    }

    /// The latency that is expected.
    pub(super) fn estimate(&self, now: Instant) -> Duration {
        Duration::from_secs_f64(self.seconds * self.weight(now))
    }

    /// What a call costs that is sent there beside those that are with it.
    pub(super) fn load(&self, in_flight: u32, now: Instant) -> f64 {
        self.seconds * self.weight(now) * (f64::from(in_flight) + 1.0)
    }

    /// An answer that took this long. One that says that the call failed never makes the instance look faster: a broken
    /// one often answers fastest.
    pub(super) fn observe(&mut self, latency: Duration, succeeded: bool, now: Instant) {
        let weight = self.weight(now);
        let (expected, seen) = (self.seconds * weight, latency.as_secs_f64());
        if seen >= self.seconds {
            self.seconds = seen;
        } else if succeeded {
            self.seconds = self.seconds * weight + seen * (1.0 - weight);
        } else {
            self.seconds = expected.max(seen);
        }
        self.updated = self.updated.max(now);
    }

    fn weight(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.updated).as_secs_f64();
        (-passed / self.decay.as_secs_f64().max(f64::MIN_POSITIVE)).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::environment::{Clock, SystemClock};

    const MS: Duration = Duration::from_millis(1);
    const DECAY: Duration = Duration::from_secs(10);

    fn new() -> (PeakEwma, Instant) {
        let now = SystemClock.monotonic();
        (PeakEwma::new(30 * MS, DECAY, now), now)
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let (mut load, now) = new();
        load.observe(500 * MS, true, now);
        assert_eq!(load.estimate(now), 500 * MS);
        load.observe(MS, true, now + MS);
        assert!(load.estimate(now + MS) > 490 * MS);
        assert!(load.estimate(now + 5 * DECAY) < 5 * MS);
    }

    #[test]
    fn a_quick_failure_does_not_make_an_instance_look_faster() {
        let (mut load, now) = new();
        let later = now + DECAY / 10;
        let expected = load.estimate(later);
        load.observe(MS / 10, false, later);
        assert!(load.estimate(later) >= expected);
    }

    proptest! {
        #[test]
        fn the_estimate_stays_between_what_was_seen_and_the_load_grows_with_what_is_in_flight(
            seen in proptest::collection::vec((1u64..5_000, 0u64..3_000, any::<bool>()), 1..50),
        ) {
            let (mut load, mut now) = new();
            let mut highest = 30 * MS;
            for (latency_ms, passed_ms, succeeded) in seen {
                let before = load.estimate(now);
                now += Duration::from_millis(passed_ms);
                prop_assert!(load.estimate(now) <= before + MS);
                let latency = Duration::from_millis(latency_ms);
                highest = highest.max(latency);
                load.observe(latency, succeeded, now);
                prop_assert!(load.estimate(now) <= highest + MS);
                prop_assert!(load.load(3, now) > load.load(2, now));
            }
        }
    }
}
