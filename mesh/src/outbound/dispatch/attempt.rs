//! One attempt of a call at one instance: what it carries on the wire, its timeout, and what its end says about the
//! instance.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::time::{Instant, timeout};
use tonic::body::Body;

use super::gathered::Gathered;
use super::instance::{Effect, InFlight};
use super::outcome::{Answer, Cause, Outcome};
use crate::deadline::{GRPC_TIMEOUT, timeout_value};
use crate::outbound::deadline::CallDeadline;
use crate::outbound::size::Limited;
use crate::outbound::transport::{Content, Transport};
use crate::seen::Method;
use crate::version::REQUIRES_HEADER;
use crate::{errors, trace};

/// The header of gRPC's retry design (A6) that tells how often the call was attempted before.
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Timers of the two sides may differ by as much: an answer that says that time is over may come just before it is.
const TIMER_TOLERANCE: Duration = Duration::from_millis(1);

/// How the answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To its end: the whole answer is one message.
    Unary,
    /// To its beginning.
    Stream,
}

/// A call, to be sent as often as need be.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) parts: Parts,
    pub(super) method: Arc<Method>,
    pub(super) body: Bytes,
    pub(super) requires: HeaderValue,
    pub(super) attempt_timeout: Duration,
    pub(super) deadline: Option<CallDeadline>,
    pub(super) max_message_bytes: usize,
}

impl Call {
    /// Sends the call to the instance that it was begun with. `previous` is how often it was sent before.
    pub(super) async fn attempt(&self, in_flight: InFlight, previous: u32) -> Outcome {
        let left = self.left().unwrap_or(Duration::MAX);
        let limit = self.attempt_timeout.min(left);
        let is_own = self.attempt_timeout < left;
        let head = self.head(previous, limit);
        let result = timeout(limit, self.exchange(&in_flight.instance.transport, head)).await;
        // Where it is the call's time that is over, all of it is told, and not only what was left for this attempt.
        let told = self.deadline.filter(|_| !is_own).map_or(limit, |deadline| deadline.timeout);
        let (answer, trailers) = result.unwrap_or_else(|_| (Err(errors::deadline_exceeded(told)), None));
        let own_timeout = is_own && in_flight.elapsed() + TIMER_TOLERANCE >= limit;
        let mut outcome = Outcome::new(answer, trailers.as_ref(), own_timeout);
        outcome.ejects = match outcome.verdict.cause {
            Some(Cause::Unavailable) if outcome.verdict.is_shed => in_flight.end(Effect::Refused),
            Some(Cause::Unavailable | Cause::TimedOut) => in_flight.end(Effect::Failed),
            // The caller's time was over, which need not be the instance's fault.
            None if !is_own && is_timeout(&outcome.answer) => {
                drop(in_flight);
                false
            }
            _ => in_flight.end(Effect::Succeeded),
        };
        outcome
    }

    /// What is left of the call's time; none where it has no end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()))
    }

    /// The answer, with its trailers where it was waited for to its end. An answer that is lost on its way is as good as
    /// none, and may come from another instance.
    async fn exchange(&self, transport: &Transport, head: Parts) -> (Answer, Option<HeaderMap>) {
        let response = match transport.exchange(head, Content::Whole(self.body.clone())).await {
            Ok(response) => response,
            Err(status) => return (Err(status), None),
        };
        if self.kind == Kind::Stream {
            let limited = |body| Body::new(Limited::new(body, self.max_message_bytes));
            return (Ok(response.map(limited)), None);
        }
        let (head, body) = response.into_parts();
        match Gathered::of(body, self.max_message_bytes).await {
            Ok(body) => {
                let trailers = body.trailers().cloned();
                (Ok(Response::from_parts(head, Body::new(body))), trailers)
            }
            Err(status) => (Err(status), None),
        }
    }

    fn head(&self, previous: u32, limit: Duration) -> Parts {
        let mut head = self.parts.clone();
        let headers = &mut head.headers;
        // Written for each attempt: the span is known only now, and less is left of the deadline than before.
        trace::inject(headers);
        headers.insert(REQUIRES_HEADER, self.requires.clone());
        if previous > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
        }
        if self.kind == Kind::Unary {
            headers.insert(GRPC_TIMEOUT, timeout_value(limit));
        }
        head
    }
}

fn is_timeout(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|status| status.code() == tonic::Code::DeadlineExceeded)
}
