//! What can become of a batch that could not be written.

use crate::sequencer::SequencerError;
use crate::store::StoreError;

/// Why a batch could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing was written, and the store may answer later.
    Unreachable,
    /// Nothing was written; the store does not take this batch.
    Refused,
    /// It may have been written.
    Unknown,
    /// Nothing was written: something that was assumed to be absent is there.
    Conflict,
    /// This process must not write any more.
    Ended(SequencerError),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store did not take a batch");
        if error.is_transient() { Self::Unreachable } else { Self::Refused }
    }
}
