//! The errors that the mesh itself gives. Each carries `google.rpc.ErrorInfo` with the [`DOMAIN`], a [`Reason`] and
//! every dynamic value as metadata, so that a program never has to read the message.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every [`Reason`] in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "mesh";

/// When to come again to what has to recover first: a peer that cannot be reached, or a service of which no instance can be called.
pub(crate) const RETRY_RECOVERY: Duration = Duration::from_millis(500);

macro_rules! reasons {
    ($($(#[doc = $documentation:literal])+ $name:ident = $text:literal, $code:ident;)+) => {
        /// Why the mesh refused or gave up. The reason determines the gRPC code: this is the one table of both.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $documentation])+ $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The reason as it stands in `google.rpc.ErrorInfo`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The gRPC code that goes with the reason.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)+ }
            }
        }
    };
}

reasons! {
    /// A message is over the limit: metadata `bytes` and `limit_bytes`.
    MessageTooLarge = "MESSAGE_TOO_LARGE", InvalidArgument;
    /// The bytes of a message are not a message of the method's type.
    MessageMalformed = "MESSAGE_MALFORMED", InvalidArgument;
    /// As many requests are in flight, and wait, as the service allows: metadata `limit`, `queue_limit`, `queue_ms`.
    Overloaded = "OVERLOADED", Unavailable;
    /// The deadline passed; what was asked for may or may not have been done. Metadata `timeout_ms`.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// A defect of the service; its log says more.
    Panic = "PANIC", Internal;
    /// The connection cannot be made or was lost; metadata `peer`.
    Unreachable = "UNREACHABLE", Unavailable;
    /// The peer ended the stream because what it is sent may be too much for it (`ENHANCE_YOUR_CALM` of HTTP/2); metadata `peer`.
    ExcessiveLoad = "EXCESSIVE_LOAD", ResourceExhausted;
    /// The peer ended the stream because the connection is not secure enough for it (`INADEQUATE_SECURITY` of HTTP/2); metadata
    /// `peer`.
    InadequateSecurity = "INADEQUATE_SECURITY", PermissionDenied;
    /// The server has no such method.
    MethodUnknown = "METHOD_UNKNOWN", Unimplemented;
    /// The server's version does not meet what the caller requires: metadata `service`, `version` and `required`.
    VersionIncompatible = "VERSION_INCOMPATIBLE", FailedPrecondition;
    /// What the caller says it requires is not a caret range: metadata `header` and `required`.
    RequirementMalformed = "REQUIREMENT_MALFORMED", InvalidArgument;
    /// What a caller says it has seen is not of the format: metadata `header`.
    CausalTokensMalformed = "CAUSAL_TOKENS_MALFORMED", InvalidArgument;
    /// No instance of the service can be called now: none is known, none meets the requirement, or all of them are
    /// ejected or unhealthy. Metadata `service`, `required` and `instances`.
    NoInstance = "NO_INSTANCE", Unavailable;
    /// The server was told to refuse a share of its requests, so that it can be seen what its callers do: nothing was done.
    /// Metadata `percent`.
    FaultInjected = "FAULT_INJECTED", Unavailable;
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A status with this reason, a message for people, and the dynamic values of it.
pub(crate) fn status(reason: Reason, message: impl Into<String>, metadata: &[(&str, String)]) -> Status {
    build(reason, message, metadata, None)
}

/// As [`status`], with the time after which a retry is worth while.
pub(crate) fn retryable(
    reason: Reason,
    message: impl Into<String>,
    metadata: &[(&str, String)],
    after: Duration,
) -> Status {
    build(reason, message, metadata, Some(after))
}

fn build(
    reason: Reason,
    message: impl Into<String>,
    metadata: &[(&str, String)],
    after: Option<Duration>,
) -> Status {
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata);
    if after.is_some() {
        details.set_retry_info(after);
    }
    Status::with_error_details(reason.code(), message, details)
}

/// When the server that refused has asked to be called again. A peer that could not be reached has asked for nothing: its status
/// tells people and programs when to come again, and the policy of retries knows better.
pub(crate) fn asked_delay(status: &Status) -> Option<Duration> {
    if matches!(reason_of(status), Some(Reason::Unreachable | Reason::NoInstance)) {
        return None;
    }
    status.get_details_retry_info()?.retry_delay
}

/// A deadline that passed after `timeout`.
pub(crate) fn deadline_exceeded(timeout: Duration) -> Status {
    let timeout_ms = timeout.as_millis().to_string();
    let message = format!("the deadline passed after {timeout_ms} ms");
    status(Reason::DeadlineExceeded, message, &[("timeout_ms", timeout_ms)])
}

/// A message over the limit.
pub(crate) fn message_too_large(bytes: impl fmt::Display, limit: impl fmt::Display) -> Status {
    status(
        Reason::MessageTooLarge,
        format!("the message has {bytes} bytes, the limit is {limit}"),
        &[("bytes", bytes.to_string()), ("limit_bytes", limit.to_string())],
    )
}

/// The reason that a status carries, or none when it is not one of the mesh's.
#[must_use]
pub fn reason_of(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == info.reason)
}

/// Whether a code says that a server, or the way to it, failed. A server that refuses a request for what it asks has not.
#[must_use]
pub fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code's name in gRPC's own spelling.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_back() {
        for reason in Reason::ALL {
            let status = retryable(*reason, "no", &[("limit", "7".to_owned())], Duration::from_secs(1));
            assert_eq!(status.code(), reason.code());
            assert_eq!(reason_of(&status), Some(*reason));
            assert_eq!(status.get_details_error_info().unwrap().metadata["limit"], "7");
            assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
        }
    }

    #[test]
    fn only_a_server_asks_for_time() {
        let asked = |reason| asked_delay(&retryable(reason, "no", &[], RETRY_RECOVERY));
        assert_eq!(asked(Reason::Overloaded), Some(RETRY_RECOVERY));
        assert_eq!([asked(Reason::Unreachable), asked(Reason::NoInstance)], [None, None]);
        assert_eq!(asked_delay(&Status::unavailable("no")), None);
    }

    #[test]
    fn a_status_of_another_domain_has_no_reason_of_ours() {
        assert_eq!(reason_of(&Status::internal("no")), None);
        let details = ErrorDetails::with_error_info("PANIC", "elsewhere", HashMap::new());
        assert_eq!(reason_of(&Status::with_error_details(Code::Internal, "no", details)), None);
    }
}
