//! How long to wait before the next attempt: exponential, with full jitter, so that callers that failed together do
//! not come back together.

use std::sync::Arc;
use std::time::Duration;

use crate::environment::Random;

/// Waits between attempts.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base_ms: u64,
    max_ms: u64,
    random: Arc<dyn Random>,
}

impl Backoff {
    pub(crate) fn new(base_ms: u64, max_ms: u64, random: Arc<dyn Random>) -> Self {
        Self { base_ms: base_ms.min(max_ms), max_ms, random }
    }

    /// The longest wait that is configured.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_millis(self.max_ms)
    }

    /// The wait after the attempt of this number (from 1): evenly distributed from 0 to the bound, which doubles.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        Duration::from_micros(self.random.below(self.bound_ms(attempt).saturating_mul(1000)))
    }

    fn bound_ms(&self, attempt: u32) -> u64 {
        let factor = 1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        self.base_ms.saturating_mul(factor).min(self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::environment::SystemRandom;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, value) in bytes.iter_mut().zip(self.0.to_le_bytes().into_iter().cycle()) {
                *byte = value;
            }
        }
    }

    #[test]
    fn the_bound_doubles_up_to_the_limit() {
        let backoff = Backoff::new(50, 300, Arc::new(SystemRandom));
        assert_eq!([1, 2, 3, 4, 70].map(|attempt| backoff.bound_ms(attempt)), [50, 100, 200, 300, 300]);
    }

    proptest! {
        #[test]
        fn a_wait_never_passes_its_bound(base in 1u64..100_000, max in 1u64..100_000, attempt in 1u32..1000, seed: u64) {
            let backoff = Backoff::new(base, max, Arc::new(Fixed(seed)));
            prop_assert!(backoff.delay(attempt) <= Duration::from_millis(backoff.bound_ms(attempt)));
            prop_assert!(backoff.delay(attempt) <= backoff.max());
        }

        #[test]
        fn the_jitter_reaches_the_whole_range(base in 10u64..10_000) {
            let bound = Duration::from_millis(base);
            let lowest = Backoff::new(base, base, Arc::new(Fixed(0))).delay(1);
            let highest = Backoff::new(base, base, Arc::new(Fixed(u64::MAX))).delay(1);
            prop_assert_eq!(lowest, Duration::ZERO);
            prop_assert!(highest > bound.mul_f64(0.99));
        }
    }
}
