//! How long calls took: counted by buckets that grow with what they hold, so that any latency is known to about a fifth.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::proto::v1::LatencyBucket;

/// Each power of two is divided in so many.
const PARTS: usize = 4;
/// From 2^2 microseconds, below which each has its own bucket, to 2^27, over two minutes.
const POWERS: usize = 25;
const BUCKETS: usize = PARTS + POWERS * PARTS;

/// The latencies of some calls.
#[derive(Debug)]
pub(super) struct Latencies {
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { sum_us: AtomicU64::new(0), buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    pub(super) fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    /// The buckets that hold something.
    pub(super) fn buckets(&self) -> Vec<LatencyBucket> {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).enumerate();
        let filled = counts.filter(|(_, calls)| *calls > 0);
        filled
            .map(|(at, calls)| LatencyBucket { from_us: bound(at), below_us: bound(at + 1), calls })
            .collect()
    }
}

/// The bucket of a latency.
fn bucket(micros: u64) -> usize {
    let Ok(small) = usize::try_from(micros) else { return BUCKETS - 1 };
    if small < PARTS {
        return small;
    }
    // The position of the highest bit says the power, the two bits below it the part.
    let power = usize::try_from(micros.ilog2()).unwrap_or(0);
    let part = (small >> (power - 2)) % PARTS;
    (PARTS + (power - 2) * PARTS + part).min(BUCKETS - 1)
}

/// What is at least in a bucket.
fn bound(bucket: usize) -> u64 {
    let (power, part) = (bucket / PARTS, bucket % PARTS);
    let bound = if power == 0 { bucket } else { (PARTS + part) << (power - 1) };
    u64::try_from(bound).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_latency_is_in_the_bucket_that_holds_it(micros in 0u64..(1 << 27)) {
            let at = bucket(micros);
            prop_assert!(bound(at) <= micros && micros < bound(at + 1), "{} in {}", micros, at);
            prop_assert!(bound(at + 1) - bound(at) <= 1.max(micros / 4 + 1));
        }

        #[test]
        fn any_latency_has_a_bucket(micros: u64) {
            prop_assert!(bucket(micros) < BUCKETS);
        }
    }

    #[test]
    fn what_was_recorded_is_told() {
        let latencies = Latencies::new();
        for micros in [3, 3, 1_000, u64::MAX / 2] {
            latencies.record(Duration::from_micros(micros));
        }
        let told: Vec<_> =
            latencies.buckets().into_iter().map(|one| (one.from_us, one.below_us, one.calls)).collect();
        assert_eq!(told[..2], [(3, 4, 2), (896, 1024, 1)]);
        assert_eq!(told[2], (bound(BUCKETS - 1), bound(BUCKETS), 1));
    }
}
