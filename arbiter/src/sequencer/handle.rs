//! What the rest of the service has of the sequencer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::Span;

use super::SequencerLimits;
use super::metrics::Metrics;
use super::writer::Envelope;
use crate::domain::{Command, Outcome, RequestId};

/// A request on its way to the sequencer.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) request_id: RequestId,
    pub(crate) command: Command,
    /// The request's own span, from queue to commit.
    pub(crate) span: Span,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// Whether an earlier request with the same id had this outcome.
    pub(crate) replayed: bool,
}

/// Why a request has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubmitError {
    /// The queue holds as many requests as it may. Nothing was enqueued.
    #[error("the queue of writes is full: it holds at most {limit_requests} requests")]
    QueueFull { limit_requests: usize },
    /// The queue holds as many bytes as it may. Nothing was enqueued.
    #[error("the queue of writes is full: it holds at most {limit_bytes} bytes")]
    QueueFullBytes { limit_bytes: usize },
    /// The request id stands for other content. Nothing was written.
    #[error("the request id was used before for a request with other content")]
    RequestIdReused,
    /// The store cannot be reached. Nothing was written.
    #[error("the store cannot be reached; nothing was written")]
    StoreUnavailable,
    /// The store may or may not have it.
    #[error("whether the request was committed is not known; repeat it with the same request id to find out")]
    OutcomeUnknown,
    /// Another process writes. Nothing was written by this request.
    #[error("another arbiter took over this store; nothing was written")]
    NotLeader,
    /// The store refused what this program wrote. A defect.
    #[error("the store refused the request")]
    Defect,
    /// The sequencer has ended. Nothing was written.
    #[error("the arbiter is stopping; nothing was written")]
    Stopped,
}

/// A cheap way to the sequencer. When the last one is gone, the sequencer finishes what is queued and ends.
#[derive(Clone, Debug)]
pub(crate) struct SequencerHandle {
    sender: mpsc::Sender<Envelope>,
    bytes: Arc<Semaphore>,
    limit_requests: usize,
    limit_bytes: usize,
    metrics: Arc<Metrics>,
}

/// The part of the queue's room that a request takes while it waits.
#[derive(Debug)]
pub(super) struct QueueRoom {
    pub(super) _bytes: OwnedSemaphorePermit,
    pub(super) metrics: Arc<Metrics>,
}

impl Drop for QueueRoom {
    fn drop(&mut self) {
        self.metrics.left_queue();
    }
}

impl SequencerHandle {
    pub(super) fn new(
        sender: mpsc::Sender<Envelope>,
        limits: &SequencerLimits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let limit_bytes = limits.queue_bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            sender,
            bytes: Arc::new(Semaphore::new(limit_bytes)),
            limit_requests: limits.queue_requests,
            limit_bytes,
            metrics,
        }
    }

    /// Puts a request into the one order and waits for its outcome, which is on the disk when this returns.
    ///
    /// When the caller gives up before that, the request may be committed all the same; the same request id tells.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Answer, SubmitError> {
        let answer = self.enqueue(submission)?;
        answer.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// How many requests wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    fn enqueue(
        &self,
        submission: Submission,
    ) -> Result<oneshot::Receiver<Result<Answer, SubmitError>>, SubmitError> {
        let slot = self.sender.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => {
                self.metrics.refused();
                SubmitError::QueueFull { limit_requests: self.limit_requests }
            }
            mpsc::error::TrySendError::Closed(()) => SubmitError::Stopped,
        })?;
        let bytes = u32::try_from(submission.command.bytes()).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| {
            self.metrics.refused();
            SubmitError::QueueFullBytes { limit_bytes: self.limit_bytes }
        })?;
        self.metrics.entered_queue();
        let room = QueueRoom { _bytes: permit, metrics: Arc::clone(&self.metrics) };
        let (envelope, answer) = Envelope::new(submission, room);
        slot.send(envelope);
        Ok(answer)
    }
}
