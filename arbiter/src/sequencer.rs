//! The one writer. It puts every request in one order, decides each against the state that the ones before it leave, and
//! commits many at once (group commit): one transaction, one sync of the disk, and only then all the answers.
//!
//! [`Sequencer::run`] is the task; [`SequencerHandle`] is what the rest of the service has of it. The queue between them is
//! bounded by count and by bytes, and a full queue refuses at once. While one batch commits, the next one gathers: under
//! light load batches are small and nobody waits for a timer, under heavy load they grow.

mod batch;
mod envelope;
mod expiry;
mod handle;
mod knowledge;
mod metrics;
mod request;
mod retention;
mod start;
#[cfg(test)]
mod tests;
mod trimmer;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Environment;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use envelope::Envelope;
pub(crate) use handle::SequencerHandle;
pub(crate) use request::{Answer, Submission, SubmitError};
pub(crate) use start::Start;
use trimmer::Trimmer;
use writer::Writer;

use crate::cache::Cache;
use crate::digests::LiveDigests;
use crate::domain::Rules;
use crate::store::SharedStore;
use crate::watch::Hub;

/// The limits of the sequencer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequencerLimits {
    /// The most requests that wait.
    pub(crate) queue_requests: usize,
    /// The most bytes of requests that wait.
    pub(crate) queue_bytes: usize,
    /// The most requests in one transaction.
    pub(crate) batch_requests: usize,
    /// The most bytes of requests in one transaction; a request that has more is alone in its own.
    pub(crate) batch_bytes: usize,
    /// How long a store that does not answer is asked again before callers are told, in milliseconds.
    pub(crate) settle_timeout_ms: u64,
    /// The pause between two of those attempts, in milliseconds.
    pub(crate) settle_pause_ms: u64,
    /// How long outcomes are kept, in milliseconds.
    pub(crate) request_retention_ms: u64,
    /// The time between two looks for outcomes that may be forgotten, in milliseconds.
    pub(crate) trim_interval_ms: u64,
    /// The limits that the rules know.
    pub(crate) rules: Rules,
}

/// Why the sequencer ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequencerError {
    /// Another process took the lead of the store.
    #[error("another arbiter took over this store; this one can commit nothing more")]
    Fenced,
    /// A COMMIT failed in a way that only a new start can settle.
    #[error("the store failed to commit: {0}; start again, so that the store is recovered from its log")]
    Fatal(String),
}

/// A store that this process leads.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(crate) store: SharedStore,
    /// Names this process in the store.
    pub(crate) leader_id: Uuid,
    /// What the store said when it was led.
    pub(crate) start: Start,
    /// Where commits are told to readers and watchers.
    pub(crate) cache: Arc<Cache>,
    pub(crate) hub: Arc<Hub>,
    /// What everything adds up to at the head.
    pub(crate) digests: Arc<LiveDigests>,
}

/// The one writer, before it runs.
#[derive(Debug)]
pub(crate) struct Sequencer {
    receiver: mpsc::Receiver<Envelope>,
    writer: Writer,
    trimmer: Trimmer,
    trim_mark_ms: watch::Sender<u64>,
    limits: SequencerLimits,
}

impl Sequencer {
    /// Makes the writer of a store that this process leads.
    pub(crate) fn new(
        lead: Lead,
        environment: Environment,
        limits: SequencerLimits,
    ) -> (Self, SequencerHandle) {
        let (sender, receiver) = mpsc::channel(limits.queue_requests);
        let trim_mark_ms = watch::Sender::new(lead.start.trim_mark_ms);
        let trimmer = Trimmer::new(Arc::clone(&lead.store), lead.leader_id, trim_mark_ms.subscribe());
        let writer = Writer::new(lead, environment, limits);
        let handle = SequencerHandle::new(sender, &limits, &writer);
        (Self { receiver, writer, trimmer, trim_mark_ms, limits }, handle)
    }

    /// Whether the store answers, as far as the writer knows.
    pub(crate) fn store_reachable(&self) -> watch::Receiver<bool> {
        self.writer.reachable()
    }

    /// Runs until `stop` is cancelled and what was queued by then is answered.
    ///
    /// # Errors
    ///
    /// When this process must not write any more. Requests that wait then are answered with an error; none is lost in
    /// silence.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), SequencerError> {
        let Self { receiver, writer, trimmer, trim_mark_ms, limits } = self;
        let writing = Writing { receiver, taken: None, writer, trim_mark_ms, limits };
        tokio::select! {
            written = writing.run(stop) => written,
            never = trimmer.run() => match never {},
        }
    }
}

/// The next request: the one that was taken before, or one of the queue.
async fn next(taken: &mut Option<Envelope>, receiver: &mut mpsc::Receiver<Envelope>) -> Option<Envelope> {
    match taken.take() {
        Some(taken) => Some(taken),
        None => receiver.recv().await,
    }
}

/// The writer at its queue.
struct Writing {
    receiver: mpsc::Receiver<Envelope>,
    /// Out of the queue already, because it did not fit into the batch before.
    taken: Option<Envelope>,
    writer: Writer,
    trim_mark_ms: watch::Sender<u64>,
    limits: SequencerLimits,
}

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_hours(24);

impl Writing {
    async fn run(mut self, stop: CancellationToken) -> Result<(), SequencerError> {
        let ended = self.write_until(stop).await;
        if let Err(error) = &ended {
            self.receiver.close();
            let mut rest: Vec<Envelope> = self.taken.take().into_iter().collect();
            while let Ok(envelope) = self.receiver.try_recv() {
                rest.push(envelope);
            }
            self.writer.end(rest, error);
        }
        ended
    }

    async fn write_until(&mut self, stop: CancellationToken) -> Result<(), SequencerError> {
        let trim_interval = Duration::from_millis(self.limits.trim_interval_ms);
        let mut next_trim = Instant::now();
        loop {
            let idle_for = self.writer.idle_for();
            let first = tokio::select! {
                biased;
                first = next(&mut self.taken, &mut self.receiver) => first,
                () = stop.cancelled(), if !self.receiver.is_closed() => {
                    self.receiver.close();
                    continue;
                }
                () = sleep(idle_for.unwrap_or(NEVER)), if idle_for.is_some() => {
                    self.writer.wake().await?;
                    continue;
                }
                () = sleep_until(next_trim) => {
                    next_trim = Instant::now() + trim_interval;
                    self.raise_trim_mark();
                    continue;
                }
            };
            let Some(first) = first else { return Ok(()) };
            if Instant::now() >= next_trim {
                next_trim = Instant::now() + trim_interval;
                self.raise_trim_mark();
            }
            let gathered = self.gather(first);
            self.writer.write(gathered).await?;
        }
    }

    fn raise_trim_mark(&mut self) {
        let mark_ms = self.writer.raise_trim_mark();
        self.trim_mark_ms.send_replace(mark_ms);
    }

    /// Takes what is queued, up to the limits of a batch, without waiting for more.
    fn gather(&mut self, first: Envelope) -> Vec<Envelope> {
        let mut bytes = first.bytes();
        let mut gathered = vec![first];
        while gathered.len() < self.limits.batch_requests && bytes < self.limits.batch_bytes {
            let Ok(envelope) = self.receiver.try_recv() else { break };
            bytes += envelope.bytes();
            if bytes > self.limits.batch_bytes {
                self.taken = Some(envelope);
                break;
            }
            gathered.push(envelope);
        }
        gathered
    }
}
