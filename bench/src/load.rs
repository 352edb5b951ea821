//! The load: a closed loop, and an open one.

mod client;
mod closed;
mod connection;
mod frames;
mod lane;
mod open;
mod remote;
mod template;
mod wire;

use std::future::Future;
use std::time::Duration;

use hdrhistogram::Histogram;
use lane::Log;

pub(crate) use client::Client;
pub(crate) use closed::closed;
pub(crate) use connection::{Connection, Method};
pub(crate) use open::{Opened, Schedule};
pub(crate) use remote::{Protocol, Remote, Shape};
pub(crate) use template::{PREFIX_BYTES, Template, framed, placeholder};

/// One who calls, again and again.
pub(crate) trait Caller: Send + 'static {
    /// Makes one request and waits for its answer.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// One stretch of load: some of it to get warm, the rest to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

/// What was measured in a slice, or in several.
pub(crate) struct Measured {
    /// Requests that were sent and answered in the measured time.
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// From sending a request to its answer, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
    /// All requests, those of the warm-up too: what the processor time was spent on.
    pub(crate) calls: u64,
}

impl Measured {
    fn new(measured: Duration) -> Self {
        Self { requests: 0, seconds: measured.as_secs_f64(), latency_us: new_histogram(), calls: 0 }
    }

    /// Adds what one caller saw, or one connection with its calls.
    fn add_log(&mut self, log: &Log) {
        self.requests += log.latencies_us.len() as u64;
        self.calls += log.calls;
        for latency_us in &log.latencies_us {
            self.latency_us.saturating_record(u64::from(*latency_us));
        }
    }

    /// Adds what was measured in another slice.
    pub(crate) fn add_slice(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.requests += other.requests;
        self.calls += other.calls;
        // Both were made by `new_histogram`, so that none is out of the other's range.
        self.latency_us.add(&other.latency_us).unwrap_or_default();
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// From a microsecond to a minute, with three digits; what takes longer counts as a minute.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}
