//! The services that an order's steps ask, and what their answers mean for an order.

mod arbiter;
mod payment;

use tonic::{Code, Status};

pub(crate) use arbiter::ArbiterClient;
pub(crate) use payment::PaymentClient;

/// Why a step has no outcome that is known. It is repeated under the same ids, which settles it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The other side was not there, or its answer was lost.
    #[error("{0}")]
    Transient(String),
    /// The other side answered what no repetition is likely to mend: a defect, or a wrong configuration.
    #[error("{0}")]
    Unexpected(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        let lost = matches!(
            status.code(),
            Code::Cancelled | Code::Unknown | Code::Aborted | Code::ResourceExhausted | Code::Internal
        );
        if lost || mesh::outbound::is_transient(&status) {
            Self::Transient(text)
        } else {
            Self::Unexpected(text)
        }
    }
}
