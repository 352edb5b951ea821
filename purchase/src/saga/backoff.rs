//! How long to wait before a step is repeated.

use std::sync::Arc;
use std::time::Duration;

use mesh::environment::{Environment, Random};

/// Exponential, bounded, and jittered by half, so that orders that failed together do not come back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base_ms: u64,
    max_ms: u64,
    random: Arc<dyn Random>,
}

impl Backoff {
    /// A backoff from `base_ms` up to `max_ms`; the base is taken for the maximum where it is greater.
    pub(crate) fn new(base_ms: u64, max_ms: u64, environment: &Environment) -> Self {
        Self { base_ms, max_ms: max_ms.max(base_ms), random: Arc::clone(&environment.random) }
    }

    /// The pause after this many failures in a row, counted from 1.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(63);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        self.jittered(self.base_ms.saturating_mul(factor).min(self.max_ms))
    }

    /// The longest pause.
    pub(crate) fn longest(&self) -> Duration {
        self.jittered(self.max_ms)
    }

    fn jittered(&self, pause_ms: u64) -> Duration {
        let half_ms = pause_ms / 2;
        Duration::from_millis(pause_ms - half_ms + self.random.below(half_ms + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pause_stays_within_its_bounds(base in 1..100_000_u64, max in 1..100_000_u64, failures: u32) {
            let backoff = Backoff::new(base, max, &Environment::system());
            let pause = u64::try_from(backoff.after(failures).as_millis()).unwrap();
            prop_assert!(pause <= base.max(max) && pause >= base.min(max) / 2);
        }
    }

    #[test]
    fn pauses_grow() {
        let backoff = Backoff::new(100, 5_000, &Environment::system());
        assert!((50..=100).contains(&backoff.after(1).as_millis()));
        assert!((400..=800).contains(&backoff.after(4).as_millis()));
        assert!((2_500..=5_000).contains(&backoff.after(40).as_millis()));
        assert!((2_500..=5_000).contains(&backoff.longest().as_millis()));
    }
}
