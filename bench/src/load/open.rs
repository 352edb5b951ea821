//! The open loop: requests are due at a given rate, whether the server keeps up or not, and latency counts from when one
//! was due. A closed loop asks less while the server stands still, and so hides how long it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::Measured;

/// How long the clock of the load sleeps between two looks at what is due. The runtime's own timers are no finer than a
/// millisecond, which would be seen in every latency.
const TICK: Duration = Duration::from_micros(200);
/// How long after the last request was due the server may go on answering.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) per_second: f64,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    /// One more waits, and its latency grows meanwhile.
    pub(crate) in_flight_at_most: usize,
}

impl Schedule {
    /// How long after the beginning a request is due.
    pub(super) fn due(&self, number: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
        let number = number as f64;
        Duration::from_secs_f64(number / self.per_second)
    }

    pub(super) fn all(&self) -> Duration {
        self.warmup + self.measured
    }
}

/// What was measured in an open loop.
pub(crate) struct Opened {
    /// Of the requests that were due in the measured time.
    pub(crate) measured: Measured,
    /// How long after they were due they were sent, in microseconds: what the load itself, or the limit of requests in
    /// flight, adds to the latency.
    pub(crate) late_us: Histogram<u64>,
}

/// A clock of its own, which wakes the lanes until it is dropped.
pub(super) struct Ticker {
    is_over: Arc<AtomicBool>,
}

impl Ticker {
    pub(super) fn start(lanes: Vec<Arc<Notify>>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ticker = Self { is_over: Arc::clone(&is_over) };
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for lane in &lanes {
                    lane.notify_one();
                }
                thread::sleep(TICK);
            }
        });
        ticker
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_rate() {
        let (warmup, measured) = (Duration::from_secs(1), Duration::from_secs(2));
        let schedule = Schedule { per_second: 1_000.0, warmup, measured, in_flight_at_most: 1 };
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(500), Duration::from_millis(500));
        assert_eq!(schedule.all(), Duration::from_secs(3));
    }
}
