//! A server that is called over gRPC.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use tokio::runtime;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::lane::{Lane, Log, Pace, Share};
use super::open::{GRACE, Opened, Schedule, Ticker};
use super::wire::Refused;
use super::{Client, Measured, Slice, Template, new_histogram};
use crate::work::Requests;

/// How a load is spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Threads, each with a runtime and connections of its own.
    pub(crate) threads: usize,
    /// Connections of all threads together.
    pub(crate) connections: usize,
}

/// How a work is asked for, and what a right answer is.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// That of gRPC: `/package.Service/Method`.
    pub(crate) path: &'static str,
    pub(crate) template: Template,
    pub(crate) check: fn(&[u8]) -> anyhow::Result<()>,
}

/// A server, and the requests that it is asked.
#[derive(Debug)]
pub(crate) struct Remote {
    address: SocketAddr,
    protocol: Protocol,
    requests: Requests,
    shape: Shape,
}

impl Remote {
    pub(crate) fn new(address: SocketAddr, protocol: Protocol, requests: Requests, shape: Shape) -> Self {
        Self { address, protocol, requests, shape }
    }

    /// Loads the server in a closed loop.
    pub(crate) fn closed(&self, slice: Slice) -> anyhow::Result<Measured> {
        let in_flight = self.requests.job().in_flight;
        // A connection without a call of its own would only stand by.
        let lanes = self.shape.connections.min(in_flight);
        let pace = |lane, begin| {
            let until = begin + slice.warmup + slice.measured;
            Pace::Closed { in_flight: share(in_flight, lane, lanes), until }
        };
        let mut measured = Measured::new(slice.measured);
        for log in self.run(lanes, slice.warmup, None, pace)? {
            measured.add_log(&log);
        }
        ensure!(measured.requests > 0, "no request was answered in the measured time");
        Ok(measured)
    }

    /// Loads the server at a given rate, whether it keeps up or not.
    pub(crate) fn open(&self, schedule: Schedule) -> anyhow::Result<Opened> {
        let lanes = self.shape.connections.min(schedule.in_flight_at_most);
        let ticks: Vec<Arc<Notify>> = (0..lanes).map(|_| Arc::default()).collect();
        let _ticker = Ticker::start(ticks.clone());
        let pace = |lane: usize, begin| {
            let in_flight = share(schedule.in_flight_at_most, lane, lanes);
            let (next, step, tick) = (lane as u64, lanes as u64, Arc::clone(&ticks[lane]));
            Pace::Open(Share { schedule, begin, next, step, in_flight, tick })
        };
        let mut opened = Opened { measured: Measured::new(schedule.measured), late_us: new_histogram() };
        for log in self.run(lanes, schedule.warmup, Some(schedule.all() + GRACE), pace)? {
            opened.measured.add_log(&log);
            for late_us in &log.late_us {
                opened.late_us.saturating_record(u64::from(*late_us));
            }
            // A server that does not keep up takes longer than the schedule.
            opened.measured.seconds = opened.measured.seconds.max(log.last_answer.as_secs_f64());
        }
        Ok(opened)
    }

    /// Runs all lanes, spread over the threads, until they end or it is time to give up.
    fn run(
        &self,
        lanes: usize,
        warmup: Duration,
        give_up: Option<Duration>,
        pace: impl Fn(usize, Instant) -> Pace + Sync,
    ) -> anyhow::Result<Vec<Log>> {
        let threads = self.shape.threads.min(lanes);
        let all_open = Barrier::new(threads);
        let on_thread = |thread| {
            let lanes = (thread..lanes).step_by(threads);
            let run = async {
                let opened = self.lanes(lanes.len()).await;
                // Also where this thread failed, or the others would wait for ever.
                all_open.wait();
                let begin = Instant::now();
                let mut running = JoinSet::new();
                for (lane, number) in opened?.into_iter().zip(lanes) {
                    running.spawn(lane.run(pace(number, begin), begin + warmup));
                }
                finish(running, give_up.map(|give_up| begin + give_up)).await
            };
            runtime::Builder::new_current_thread().enable_all().build()?.block_on(run)
        };
        let logs = thread::scope(|scope| {
            let on_thread = &on_thread;
            let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || on_thread(thread))).collect();
            let mut logs = on_thread(0)?;
            for other in others {
                logs.extend(other.join().map_err(|_| anyhow!("a thread of the load ended by a defect"))??);
            }
            Ok(logs)
        });
        logs.map_err(|error: anyhow::Error| self.explained(error))
            .with_context(|| format!("a {} failed", self.requests.job().work.name()))
    }

    async fn lanes(&self, count: usize) -> anyhow::Result<Vec<Lane>> {
        let mut lanes = Vec::new();
        for _ in 0..count {
            lanes.push(Lane::open(self.address, self.protocol.clone(), self.requests.another()).await?);
        }
        Ok(lanes)
    }

    /// Asks for what the server says, which the load does not read: by a request of the same kind.
    fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        if !error.is::<Refused>() {
            return error;
        }
        let mut message = Vec::new();
        self.protocol.template.fill(&self.requests.another().next(), &mut message);
        let asked =
            Client::open(self.address).and_then(|client| client.send(self.protocol.path, message.into()));
        asked.err().unwrap_or_else(|| error.context("it took a second one of the same kind"))
    }
}

async fn finish(
    mut running: JoinSet<anyhow::Result<Log>>,
    give_up: Option<Instant>,
) -> anyhow::Result<Vec<Log>> {
    let mut logs = Vec::new();
    let all = async {
        while let Some(log) = running.join_next().await {
            logs.push(log??);
        }
        anyhow::Ok(())
    };
    match give_up {
        Some(give_up) => timeout_at(give_up, all).await.context("the server cannot keep up")??,
        None => all.await?,
    }
    Ok(logs)
}

/// How many of all are a lane's.
fn share(all: usize, lane: usize, lanes: usize) -> usize {
    (all + lane) / lanes
}
