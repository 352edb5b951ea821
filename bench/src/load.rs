//! The load: a closed loop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::children::channel;
use crate::work::Work;

/// How much load, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) in_flight: usize,
    pub(crate) connections: usize,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

/// What was measured.
pub(crate) struct Measured {
    /// Requests answered in the measured time.
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// From sending a request to its answer, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
}

impl Load {
    /// Keeps the requests in flight, and counts those that are answered in the measured time. Any error ends it: a
    /// rate of refusals is no rate.
    pub(crate) async fn run(&self, address: &SocketAddr, work: Work) -> anyhow::Result<Measured> {
        let channels: Vec<Channel> = (0..self.connections).map(|_| channel(*address)).collect();
        let from = Instant::now() + self.warmup;
        let until = from + self.measured;
        let mut tasks = JoinSet::new();
        for task in 0..self.in_flight {
            let channel = channels[task % self.connections].clone();
            tasks.spawn(one_in_flight(channel, work, task as u64, from, until));
        }
        let mut latency_us = new_histogram()?;
        while let Some(task) = tasks.join_next().await {
            latency_us.add(task??)?;
        }
        Ok(Measured { requests: latency_us.len(), seconds: self.measured.as_secs_f64(), latency_us })
    }
}

async fn one_in_flight(
    channel: Channel,
    work: Work,
    task: u64,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency_us = new_histogram()?;
    let mut number = 0;
    loop {
        let begin = Instant::now();
        if begin >= until {
            return Ok(latency_us);
        }
        work.call(&channel, task, number).await.with_context(|| format!("a {} failed", work.name()))?;
        number += 1;
        let end = Instant::now();
        if begin >= from && end < until {
            latency_us.record(u64::try_from((end - begin).as_micros())?)?;
        }
    }
}

/// Up to a minute, with three digits.
fn new_histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}
