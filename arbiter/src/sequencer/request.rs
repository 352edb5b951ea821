//! What is asked of the sequencer, and what it answers.

use std::sync::Arc;

use tracing::Span;

use super::SequencerError;
use crate::domain::{Command, Outcome, RequestId};

/// A request on its way to the sequencer.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) request_id: RequestId,
    pub(crate) command: Arc<Command>,
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
    /// The request alone is larger than the queue. Nothing was enqueued, and nothing will be.
    #[error("the request takes {bytes} bytes in the queue of writes, which holds at most {limit_bytes}")]
    TooLarge { bytes: u32, limit_bytes: usize },
    /// The request id stands for other content. Nothing was written.
    #[error("the request id was used before for a request with other content")]
    RequestIdReused,
    /// The request id is older than outcomes are kept. Nothing was written.
    #[error("the request id is older than {retention_ms} ms, for which outcomes are kept")]
    RequestIdExpired { retention_ms: u64 },
    /// The request id is from ahead of this clock. Nothing was written.
    #[error("the request id is from more than {limit_ms} ms ahead of the arbiter's clock")]
    RequestIdAhead { limit_ms: u64 },
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

impl From<&SequencerError> for SubmitError {
    fn from(error: &SequencerError) -> Self {
        match error {
            SequencerError::Fenced => Self::NotLeader,
            SequencerError::Fatal(_) => Self::OutcomeUnknown,
        }
    }
}
