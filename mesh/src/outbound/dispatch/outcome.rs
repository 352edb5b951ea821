//! What an answer says about going on: whether another instance may be tried, and whether the server asks for time.

use std::time::Duration;

use http::{HeaderMap, Response};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::errors::{self, Reason, code_name};
use crate::rpc;

/// The header by which a server tells when a call may be repeated, as gRPC's retry design (A6) has it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why another instance may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was not there, or had no room. The same instance may be asked again.
    Unavailable,
    /// It did not answer in the time of one attempt.
    TimedOut,
    /// It has no such method; another version may have it.
    Unimplemented,
    /// It runs another version by now than it said.
    Incompatible,
}

impl Cause {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "UNAVAILABLE",
            Self::TimedOut => "ATTEMPT_TIMEOUT",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Incompatible => "VERSION_INCOMPATIBLE",
        }
    }
}

/// What a server says about repeating the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushback {
    /// After this time, if at all.
    After(Duration),
    /// Not at all.
    Never,
}

/// One answer.
pub(super) type Answer = Result<Response<Body>, Status>;

/// One answer, and what it says about going on.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) verdict: Verdict,
    /// What is told of it.
    pub(super) name: &'static str,
    /// Whether the instance gets no more calls for a while because of it.
    pub(super) ejects: bool,
}

/// What an answer says about going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the server itself says, by gRPC's own means, that it has no room now.
    pub(super) is_shed: bool,
    /// None where the answer is the call's.
    pub(super) cause: Option<Cause>,
    pub(super) pushback: Option<Pushback>,
}

impl Outcome {
    /// `trailers` are those of an answer that has arrived to its end. `own_timeout` says whether the time of the
    /// attempt was over when it came, with time of the call left.
    pub(super) fn new(answer: Answer, trailers: Option<&HeaderMap>, own_timeout: bool) -> Self {
        let (code, status) = match &answer {
            Ok(response) => read(response.headers(), trailers),
            Err(status) => (status.code(), Some(status.clone())),
        };
        let cause = status.as_ref().and_then(|status| cause_of(status, own_timeout));
        let pushback = status.as_ref().and_then(pushback_of);
        let name = cause.map_or(code_name(code), Cause::as_str);
        let is_shed = cause == Some(Cause::Unavailable)
            && status.as_ref().is_some_and(|status| status.metadata().contains_key(PUSHBACK));
        Self { answer, verdict: Verdict { is_shed, cause, pushback }, name, ejects: false }
    }
}

/// The code of an answer, and its status where that is an error.
fn read(head: &HeaderMap, trailers: Option<&HeaderMap>) -> (Code, Option<Status>) {
    let place = if rpc::code_of(head).is_some() { Some(head) } else { trailers };
    // An answer that goes on has no code yet; it has begun, which is all that is waited for.
    let code = place.and_then(rpc::code_of).unwrap_or(Code::Ok);
    let status = place.filter(|_| code != Code::Ok).and_then(Status::from_header_map);
    (code, status)
}

fn cause_of(status: &Status, own_timeout: bool) -> Option<Cause> {
    match status.code() {
        Code::Unavailable => Some(Cause::Unavailable),
        Code::DeadlineExceeded if own_timeout => Some(Cause::TimedOut),
        Code::Unimplemented => Some(Cause::Unimplemented),
        Code::FailedPrecondition if errors::reason_of(status) == Some(Reason::VersionIncompatible) => {
            Some(Cause::Incompatible)
        }
        _ => None,
    }
}

fn pushback_of(status: &Status) -> Option<Pushback> {
    if let Some(value) = status.metadata().get(PUSHBACK) {
        let after = value.to_str().ok().and_then(|text| text.parse::<i32>().ok());
        // As A6 has it, what is negative or no number says: not at all.
        return Some(match after.and_then(|ms| u64::try_from(ms).ok()) {
            Some(ms) => Pushback::After(Duration::from_millis(ms)),
            None => Pushback::Never,
        });
    }
    errors::asked_delay(status).map(Pushback::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(status: Status, own_timeout: bool) -> Option<Cause> {
        let told = Outcome::new(Ok(status.clone().into_http()), None, own_timeout).verdict.cause;
        let trailers = status.clone().into_http::<Body>().headers().clone();
        assert_eq!(Outcome::new(Ok(Response::default()), Some(&trailers), own_timeout).verdict.cause, told);
        assert_eq!(Outcome::new(Err(status), None, own_timeout).verdict.cause, told);
        told
    }

    #[test]
    fn only_what_another_instance_may_do_better_is_a_cause() {
        for code in (1..=16).map(Code::from) {
            let expected = match code {
                Code::Unavailable => Some(Cause::Unavailable),
                Code::Unimplemented => Some(Cause::Unimplemented),
                _ => None,
            };
            assert_eq!(cause(Status::new(code, "no"), false), expected, "{code:?}");
        }
        assert_eq!(cause(Status::deadline_exceeded("slow"), true), Some(Cause::TimedOut));
        assert_eq!(cause(Status::internal("slow"), true), None);
        let incompatible = errors::status(Reason::VersionIncompatible, "2.0.0", &[]);
        assert_eq!(cause(incompatible, false), Some(Cause::Incompatible));
    }

    #[test]
    fn the_server_is_heard_about_when_to_come_again() {
        let pushback = |value: &'static str| {
            let mut status = Status::unavailable("full");
            status.metadata_mut().insert(PUSHBACK, value.parse().unwrap());
            Outcome::new(Ok(status.into_http()), None, false).verdict.pushback
        };
        assert_eq!(pushback("250"), Some(Pushback::After(Duration::from_millis(250))));
        assert_eq!(pushback("-1"), Some(Pushback::Never));
        assert_eq!(pushback("soon"), Some(Pushback::Never));
        let info = errors::retryable(Reason::Overloaded, "full", &[], Duration::from_secs(2));
        assert_eq!(pushback_of(&info), Some(Pushback::After(Duration::from_secs(2))));
        assert_eq!(pushback_of(&Status::unavailable("gone")), None);
    }
}
