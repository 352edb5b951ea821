//! A server that is called over gRPC.

use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use tokio::runtime;

use super::connection::{Connection, Method};
use super::open::{self, Opened, Schedule};
use super::{Caller, Measured, Slice, Template, closed};
use crate::work::Requests;

/// Every how many answers one is read: the first of each caller, and then a sample, since reading costs the load.
const CHECK_INTERVAL: u64 = 64;

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
    pub(crate) method: Method,
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
        // One caller needs no second thread, and no connection that it does not use.
        let threads = self.shape.threads.min(in_flight);
        let connections = self.shape.connections.clamp(threads, in_flight.max(threads));
        std::thread::scope(|scope| {
            let share = |all: usize, thread: usize| (all + thread) / threads;
            let others: Vec<_> = (1..threads)
                .map(|thread| {
                    let (callers, connections) = (share(in_flight, thread), share(connections, thread));
                    scope.spawn(move || self.closed_on_this_thread(callers, connections, slice))
                })
                .collect();
            let mut measured =
                self.closed_on_this_thread(share(in_flight, 0), share(connections, 0), slice)?;
            for other in others {
                let other = other.join().map_err(|_| anyhow!("a thread of the load ended by a defect"))??;
                measured.add_thread(&other);
            }
            Ok(measured)
        })
    }

    fn closed_on_this_thread(
        &self,
        callers: usize,
        connections: usize,
        slice: Slice,
    ) -> anyhow::Result<Measured> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { closed(self.callers(callers, connections).await?, slice).await })
    }

    /// Loads the server at a given rate, whether it keeps up or not.
    pub(crate) fn open(&self, schedule: Schedule) -> anyhow::Result<Opened> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let callers = self.callers(schedule.callers, self.shape.connections).await?;
            open::open(callers, schedule).await
        })
    }

    async fn callers(&self, callers: usize, connections: usize) -> anyhow::Result<Vec<RemoteCaller>> {
        let mut opened = Vec::new();
        for _ in 0..connections {
            opened.push(Connection::open(self.address).await?);
        }
        let caller = |number: usize| RemoteCaller {
            connection: opened[number % connections].clone(),
            protocol: self.protocol.clone(),
            requests: self.requests.another(),
            calls: 0,
        };
        Ok((0..callers).map(caller).collect())
    }
}

struct RemoteCaller {
    connection: Connection,
    protocol: Protocol,
    requests: Requests,
    calls: u64,
}

impl Caller for RemoteCaller {
    async fn call(&mut self) -> anyhow::Result<()> {
        let request = self.requests.next();
        let message = self.protocol.template.fill(&request);
        let answer = self.connection.call(&self.protocol.method, message).await;
        let answer = answer.with_context(|| format!("a {} failed", self.requests.job().work.name()))?;
        if self.calls.is_multiple_of(CHECK_INTERVAL) {
            (self.protocol.check)(&answer)?;
        }
        self.calls += 1;
        Ok(())
    }
}
