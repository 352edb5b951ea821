//! Why a peer could not be asked, and the status for it.

use std::io;
use std::sync::Arc;

use h2::Reason as Http2Reason;
use tonic::Status;

use crate::errors::{self, Reason};

/// Why a peer could not be asked, or did not answer to the end. A peer's own answer never is one.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The connection could not be made.
    #[error("the connection could not be made: {0}")]
    Connect(Arc<io::Error>),
    /// The connection, or the one stream, ended.
    #[error("the connection or the stream ended: {0}")]
    Http2(Arc<h2::Error>),
    /// The connection ended, or the runtime.
    #[error("the connection ended")]
    Closed,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connect(Arc::new(error))
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        Self::Http2(Arc::new(error))
    }
}

impl Failure {
    /// The status for it. Its text stays out of the message, because a service may hand the status on to its own callers.
    pub(super) fn status(&self, peer: &str) -> Status {
        tracing::debug!(target: "mesh::transport", peer, error = %self, "transport error");
        let http2 = match self {
            Self::Http2(error) => error.reason(),
            Self::Connect(_) | Self::Closed => None,
        };
        let metadata = [("peer", peer.to_owned())];
        // What the peer says about this very stream is kept (gRPC over HTTP/2, "Errors").
        let refused = match http2 {
            Some(Http2Reason::ENHANCE_YOUR_CALM) => Reason::ExcessiveLoad,
            Some(Http2Reason::INADEQUATE_SECURITY) => Reason::InadequateSecurity,
            _ => {
                let message = format!("{peer} cannot be reached, or the connection to it was lost");
                return errors::retryable(Reason::Unreachable, message, &metadata, errors::RETRY_RECOVERY);
            }
        };
        errors::status(refused, format!("{peer} refused the stream"), &metadata)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn a_lost_connection_is_unavailable_and_tells_nothing_of_why() {
        let failures = [
            Failure::from(io::Error::other("/secret/path")),
            Failure::from(h2::Error::from(Http2Reason::REFUSED_STREAM)),
            Failure::Closed,
        ];
        for failure in failures {
            let status = failure.status("peer");
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(errors::reason_of(&status), Some(Reason::Unreachable));
            assert!(status.get_details_retry_info().is_some());
            assert!(!status.message().contains("secret"));
        }
    }

    #[test]
    fn what_the_peer_says_about_the_stream_is_kept() {
        for (said, code, reason) in [
            (Http2Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted, Reason::ExcessiveLoad),
            (Http2Reason::INADEQUATE_SECURITY, Code::PermissionDenied, Reason::InadequateSecurity),
        ] {
            let status = Failure::from(h2::Error::from(said)).status("peer");
            assert_eq!((status.code(), errors::reason_of(&status)), (code, Some(reason)));
            assert_eq!(status.get_details_error_info().unwrap().metadata["peer"], "peer");
        }
    }
}
