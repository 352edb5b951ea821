//! What the rest of the service has of the sequencer.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::SequencerLimits;
use super::envelope::{Envelope, QueueRoom};
use super::metrics::Metrics;
use super::request::{Answer, Submission, SubmitError};
use super::writer::{LeftInDoubt, Writer};
use crate::domain::RequestId;

/// A cheap way to the sequencer. When the last one is gone, the sequencer finishes what is queued and ends.
#[derive(Clone, Debug)]
pub(crate) struct SequencerHandle {
    sender: mpsc::Sender<Envelope>,
    bytes: Arc<Semaphore>,
    limit_requests: usize,
    limit_bytes: usize,
    /// What is not known, once writing has ended by itself.
    left_in_doubt: LeftInDoubt,
    metrics: Arc<Metrics>,
}

impl SequencerHandle {
    pub(super) fn new(sender: mpsc::Sender<Envelope>, limits: &SequencerLimits, writer: &Writer) -> Self {
        let limit_bytes = limits.queue_bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            sender,
            bytes: Arc::new(Semaphore::new(limit_bytes)),
            limit_requests: limits.queue_requests,
            limit_bytes,
            left_in_doubt: writer.left_in_doubt(),
            metrics: writer.metrics(),
        }
    }

    /// Puts a request into the one order and waits for its outcome, which is on the disk when this returns.
    ///
    /// When the caller gives up before that, the request may be committed all the same; the same request id tells.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Answer, SubmitError> {
        let answer = self.enqueue(submission)?;
        // Whoever lets a request fall without an answer may have been writing it.
        answer.await.unwrap_or(Err(SubmitError::OutcomeUnknown))
    }

    /// How many requests wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    fn is_in_doubt(&self, request_id: RequestId) -> bool {
        self.left_in_doubt.get().is_some_and(|doubt| doubt.contains(request_id))
    }

    fn enqueue(
        &self,
        submission: Submission,
    ) -> Result<oneshot::Receiver<Result<Answer, SubmitError>>, SubmitError> {
        let bytes = u32::try_from(submission.command.bytes()).unwrap_or(u32::MAX);
        if bytes as usize > self.limit_bytes {
            return Err(SubmitError::TooLarge { bytes, limit_bytes: self.limit_bytes });
        }
        let slot = self.sender.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => {
                self.metrics.refused();
                SubmitError::QueueFull { limit_requests: self.limit_requests }
            }
            // One that is repeated because its outcome is unknown must not be told that nothing was written.
            mpsc::error::TrySendError::Closed(()) if self.is_in_doubt(submission.request_id) => {
                SubmitError::OutcomeUnknown
            }
            mpsc::error::TrySendError::Closed(()) => SubmitError::Stopped,
        })?;
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
