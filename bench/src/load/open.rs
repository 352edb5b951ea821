//! The open loop: requests are due at a given rate, whether the server keeps up or not, and latency counts from when one
//! was due. A closed loop asks less while the server stands still, and so hides how long it did.

use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Caller, Measured, new_histogram};

/// How long the clock of the load sleeps between two looks at what is due. The runtime's own timers are no finer than a
/// millisecond, which would be seen in every latency.
const TICK: Duration = Duration::from_micros(200);
/// How long after the last request was due the server may go on answering.
const GRACE: Duration = Duration::from_secs(30);

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) per_second: f64,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    /// Requests in flight at most; one more waits, and its latency grows meanwhile.
    pub(crate) callers: usize,
}

impl Schedule {
    /// How long after the beginning a request is due.
    fn due(&self, number: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
        let number = number as f64;
        Duration::from_secs_f64(number / self.per_second)
    }

    fn all(&self) -> Duration {
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

/// Sends requests when they are due.
pub(crate) async fn open<C: Caller>(callers: Vec<C>, schedule: Schedule) -> anyhow::Result<Opened> {
    ensure!(schedule.per_second > 0.0, "a rate is above zero");
    let begin = Instant::now();
    let mut run = Run {
        schedule,
        begin,
        idle: callers,
        busy: JoinSet::new(),
        sent: 0,
        opened: Opened { measured: Measured::new(schedule.measured), late_us: new_histogram() },
    };
    let mut ticks = ticks();
    loop {
        run.send_what_is_due();
        if run.schedule.due(run.sent) >= schedule.all() && run.busy.is_empty() {
            return Ok(run.opened);
        }
        if begin.elapsed() > schedule.all() + GRACE {
            bail!("the server cannot keep up with {:.0} requests a second", schedule.per_second);
        }
        tokio::select! {
            Some(done) = run.busy.join_next() => run.note(done??),
            _ = ticks.recv() => {}
        }
    }
}

struct Run<C> {
    schedule: Schedule,
    begin: Instant,
    idle: Vec<C>,
    busy: JoinSet<anyhow::Result<Done<C>>>,
    sent: u64,
    opened: Opened,
}

struct Done<C> {
    caller: C,
    due: Duration,
    sent: Instant,
    answered: Instant,
}

impl<C: Caller> Run<C> {
    fn send_what_is_due(&mut self) {
        let sent = Instant::now();
        loop {
            let due = self.schedule.due(self.sent);
            if due > sent - self.begin || due >= self.schedule.all() {
                return;
            }
            let Some(mut caller) = self.idle.pop() else { return };
            self.sent += 1;
            self.busy.spawn(async move {
                caller.call().await?;
                Ok(Done { caller, due, sent, answered: Instant::now() })
            });
        }
    }

    fn note(&mut self, done: Done<C>) {
        self.opened.measured.calls += 1;
        if done.due >= self.schedule.warmup {
            let due = self.begin + done.due;
            self.opened.measured.requests += 1;
            self.opened.measured.latency_us.saturating_record(micros(done.answered - due));
            self.opened.late_us.saturating_record(micros(done.sent - due));
            // A server that does not keep up takes longer than the schedule.
            let seconds = (done.answered - (self.begin + self.schedule.warmup)).as_secs_f64();
            self.opened.measured.seconds = self.opened.measured.seconds.max(seconds);
        }
        self.idle.push(done.caller);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A clock of its own, until its receiver is dropped.
fn ticks() -> Receiver<()> {
    let (sender, receiver) = channel(1);
    thread::spawn(move || {
        // A full channel has a tick that nobody has taken yet: one is enough.
        while !matches!(sender.try_send(()), Err(TrySendError::Closed(()))) {
            thread::sleep(TICK);
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stalled {
        takes: Duration,
    }

    impl Caller for Stalled {
        async fn call(&mut self) -> anyhow::Result<()> {
            tokio::time::sleep(self.takes).await;
            Ok(())
        }
    }

    #[test]
    fn requests_are_due_at_the_rate() {
        let schedule = schedule(1_000.0);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(500), Duration::from_millis(500));
    }

    /// One caller whose requests take 20 ms, and one request due every 10 ms: the wait grows by 10 ms with each.
    #[tokio::test]
    async fn latency_counts_from_when_a_request_was_due() {
        let opened = open(vec![Stalled { takes: Duration::from_millis(20) }], schedule(100.0)).await.unwrap();
        assert_eq!(opened.measured.requests, 10);
        assert!(opened.measured.latency_us.max() >= 100_000, "{}", opened.measured.latency_us.max());
        assert!(opened.measured.per_second() < 60.0, "it did not keep up");
    }

    fn schedule(per_second: f64) -> Schedule {
        let warmup = Duration::ZERO;
        Schedule { per_second, warmup, measured: Duration::from_millis(100), callers: 1 }
    }
}
