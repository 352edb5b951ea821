//! The one writer. It puts every request in one order, decides each against the state that the ones before it leave, and
//! commits many at once (group commit): one transaction, one sync of the disk, and only then all the answers.
//!
//! [`Sequencer::run`] is the task; [`SequencerHandle`] is what the rest of the service has of it. The queue between them is
//! bounded by count and by bytes, and a full queue refuses at once. While one batch commits, the next one gathers: under
//! light load batches are small and nobody waits for a timer, under heavy load they grow.

mod batch;
mod envelope;
mod handle;
mod metrics;
mod request;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Environment;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use envelope::Envelope;
pub(crate) use handle::SequencerHandle;
pub(crate) use request::{Answer, Submission, SubmitError};
use writer::Writer;

use crate::store::{Head, SharedStore};
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
    /// The most bytes of requests in one transaction; one request may have more.
    pub(crate) batch_bytes: usize,
    /// How long a store that does not answer is asked again before callers are told, in milliseconds.
    pub(crate) settle_timeout_ms: u64,
    /// The pause between two of those attempts, in milliseconds.
    pub(crate) settle_pause_ms: u64,
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
    pub(crate) head: Head,
}

/// The one writer, before it runs.
#[derive(Debug)]
pub(crate) struct Sequencer {
    receiver: mpsc::Receiver<Envelope>,
    writer: Writer,
    limits: SequencerLimits,
}

impl Sequencer {
    /// Makes the writer of a store that this process leads.
    pub(crate) fn new(
        lead: Lead,
        hub: Arc<Hub>,
        environment: Environment,
        limits: SequencerLimits,
    ) -> (Self, SequencerHandle) {
        let (sender, receiver) = mpsc::channel(limits.queue_requests);
        let writer = Writer::new(lead, hub, environment, limits);
        let handle = SequencerHandle::new(sender, &limits, writer.metrics());
        (Self { receiver, writer, limits }, handle)
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
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), SequencerError> {
        let probe_pause = Duration::from_millis(self.limits.settle_pause_ms);
        loop {
            let first = tokio::select! {
                biased;
                first = self.receiver.recv() => first,
                () = stop.cancelled(), if !self.receiver.is_closed() => {
                    self.receiver.close();
                    continue;
                }
                () = sleep(probe_pause), if !self.writer.is_settled() => {
                    self.writer.probe().await?;
                    continue;
                }
            };
            let Some(first) = first else { return Ok(()) };
            let gathered = self.gather(first);
            self.writer.write(gathered).await?;
        }
    }

    /// Takes what is queued, up to the limits of a batch, without waiting for more.
    fn gather(&mut self, first: Envelope) -> Vec<Envelope> {
        let mut bytes = first.bytes();
        let mut gathered = vec![first];
        while gathered.len() < self.limits.batch_requests && bytes < self.limits.batch_bytes {
            let Ok(envelope) = self.receiver.try_recv() else { break };
            bytes += envelope.bytes();
            gathered.push(envelope);
        }
        gathered
    }
}
