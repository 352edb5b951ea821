//! A connection of the load, with the calls that are made over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::wire::Wire;
use super::{Protocol, Schedule};
use crate::work::Requests;

/// Every how many answers one is read: the first of each connection, and then a sample, since reading costs the load.
const CHECK_INTERVAL: u64 = 64;
/// What is received at once, at most.
const RECEIVE_BYTES: usize = 64 << 10;

/// When a lane makes its calls.
pub(super) enum Pace {
    /// As many as this are always in flight, until then.
    Closed { in_flight: usize, until: Instant },
    /// When they are due.
    Open(Share),
}

/// A lane's share of a schedule.
pub(super) struct Share {
    pub(super) schedule: Schedule,
    pub(super) begin: Instant,
    /// The number of its next call; from one to the next it is `step`.
    pub(super) next: u64,
    pub(super) step: u64,
    pub(super) in_flight: usize,
    /// Wakes the lane to look at what is due.
    pub(super) tick: Arc<Notify>,
}

impl Pace {
    /// When the next call should have begun, where it should have by now.
    fn due(&self, now: Instant, in_flight: usize) -> Option<Instant> {
        match self {
            Self::Closed { in_flight: at_most, until } => {
                (in_flight < *at_most && now < *until).then_some(now)
            }
            Self::Open(share) => {
                let due = share.begin + share.schedule.due(share.next);
                (in_flight < share.in_flight && due <= now && !share.is_over()).then_some(due)
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Closed { until, .. } => now >= *until,
            Self::Open(share) => share.is_over(),
        }
    }

    async fn tick(&self) {
        match self {
            Self::Closed { .. } => std::future::pending().await,
            Self::Open(share) => share.tick.notified().await,
        }
    }
}

impl Share {
    fn is_over(&self) -> bool {
        self.schedule.due(self.next) >= self.schedule.all()
    }
}

/// What a lane saw. Latencies are only noted: a histogram for each lane would fill the processor's cache.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// From when a call was due, or was sent in a closed loop, to its answer.
    pub(super) latencies_us: Vec<u32>,
    /// From when a call was due to when it was sent.
    pub(super) late_us: Vec<u32>,
    /// All calls, those of the warm-up too.
    pub(super) calls: u64,
    /// How long after the warm-up the last of them was answered.
    pub(super) last_answer: Duration,
}

/// A connection that makes calls.
pub(super) struct Lane {
    stream: TcpStream,
    input: BytesMut,
    wire: Wire,
    protocol: Protocol,
    requests: Requests,
    sent: u64,
    log: Log,
}

impl Lane {
    /// Connects, and waits for what the server tells first: how much it takes at once.
    pub(super) async fn open(
        address: SocketAddr,
        protocol: Protocol,
        requests: Requests,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
        stream.set_nodelay(true)?;
        let wire = Wire::new(&address.to_string(), protocol.path);
        let input = BytesMut::with_capacity(RECEIVE_BYTES);
        let mut lane = Self { stream, input, wire, protocol, requests, sent: 0, log: Log::default() };
        while !lane.wire.is_settled() {
            lane.flush().await?;
            ensure!(lane.stream.read_buf(&mut lane.input).await? > 0, "the server closed the connection");
            let taken = lane.wire.receive(&lane.input, |_| Ok(()))?;
            lane.input.advance(taken);
        }
        Ok(lane)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if !self.wire.output.is_empty() {
            self.stream.write_all(&self.wire.output).await?;
            self.wire.output.clear();
        }
        Ok(())
    }

    /// Makes calls at this pace. Those that are due from `from` on are measured, up to `until` where it is a closed loop.
    pub(super) async fn run(mut self, mut pace: Pace, from: Instant) -> anyhow::Result<Log> {
        loop {
            let now = Instant::now();
            self.send_what_is_due(&mut pace, now, from);
            if pace.is_over(now) && self.wire.in_flight() == 0 {
                return Ok(self.log);
            }
            self.flush().await?;
            self.input.reserve(RECEIVE_BYTES);
            tokio::select! {
                received = self.stream.read_buf(&mut self.input) => {
                    ensure!(received? > 0, "the server closed the connection");
                    self.take_what_was_received(&pace, from)?;
                }
                () = pace.tick() => {}
            }
        }
    }

    fn send_what_is_due(&mut self, pace: &mut Pace, now: Instant, from: Instant) {
        let message_bytes = self.protocol.template.len();
        while self.wire.has_room(message_bytes)
            && let Some(due) = pace.due(now, self.wire.in_flight())
        {
            let request = self.requests.next();
            let template = &self.protocol.template;
            let look_at_answer = self.sent.is_multiple_of(CHECK_INTERVAL);
            self.wire.send(due, look_at_answer, message_bytes, |output| template.fill(&request, output));
            self.sent += 1;
            if let Pace::Open(share) = pace {
                share.next += share.step;
                if due >= from {
                    self.log.late_us.push(micros(due, now));
                }
            }
        }
    }

    fn take_what_was_received(&mut self, pace: &Pace, from: Instant) -> anyhow::Result<()> {
        let now = Instant::now();
        let until = match pace {
            Pace::Closed { until, .. } => Some(*until),
            // However late it is, a call that was due is measured.
            Pace::Open(_) => None,
        };
        let (log, check) = (&mut self.log, self.protocol.check);
        let taken = self.wire.receive(&self.input, |answered| {
            log.calls += 1;
            if answered.begin >= from && until.is_none_or(|until| now < until) {
                log.latencies_us.push(micros(answered.begin, now));
                log.last_answer = now - from;
            }
            answered.message.map_or(Ok(()), |message| check(&message))
        })?;
        self.input.advance(taken);
        Ok(())
    }
}

fn micros(from: Instant, to: Instant) -> u32 {
    u32::try_from((to - from).as_micros()).unwrap_or(u32::MAX)
}
