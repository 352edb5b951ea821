//! How long to wait before the arbiter is tried again.

use std::time::Duration;

use mesh::environment::Random;

/// Waits that double up to a bound, each shortened by chance to between a half and the whole, so that copies which
/// lost the arbiter together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, attempts: 0 }
    }

    /// The wait before the next attempt.
    pub(crate) fn next(&mut self, random: &dyn Random) -> Duration {
        let whole = self.base.saturating_mul(1 << self.attempts.min(20)).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        let half = whole / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(random.below(spread.saturating_add(1)))
    }

    /// Whether there was no attempt since the arbiter was followed.
    pub(crate) fn is_first(&self) -> bool {
        self.attempts == 0
    }

    /// The arbiter is followed again: the next wait is the shortest.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::environment::SystemRandom;

    #[test]
    fn waits_double_up_to_the_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole_ms in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next(&SystemRandom);
            assert!(wait >= Duration::from_millis(whole_ms / 2) && wait <= Duration::from_millis(whole_ms));
        }
        for _ in 0..100 {
            assert!(backoff.next(&SystemRandom) <= Duration::from_secs(1));
        }
        backoff.reset();
        assert!(backoff.next(&SystemRandom) <= Duration::from_millis(100));
    }
}
