//! One call's span and metrics, ended with the call: by its trailers, its error, or by being dropped.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, global};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tracing::Span;

use super::code_of;
use crate::environment::{Clock, Environment};
use crate::errors::{code_name, is_failure};
use crate::seen::{Edge, Seen};
use crate::telemetry;

/// Upper bounds in seconds, as the OpenTelemetry conventions advise, with finer ones below: a call within one
/// machine takes less than a millisecond.
const BOUNDARIES: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 10.0,
];

/// Which end of the call this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    fn metric(self) -> &'static str {
        match self {
            Self::Client => "rpc.client.call.duration",
            Self::Server => "rpc.server.call.duration",
        }
    }

    /// Whether a code is a failure seen from here. A server that refuses a bad request has not failed.
    fn fails_with(self, code: Code) -> bool {
        match self {
            Self::Client => code != Code::Ok,
            Self::Server => is_failure(code),
        }
    }
}

/// What calls are measured with. Made after the meter provider was set.
#[derive(Clone)]
pub(crate) struct Instruments {
    side: Side,
    duration: Histogram<f64>,
    clock: Arc<dyn Clock>,
    seen: Seen,
}

impl fmt::Debug for Instruments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Instruments").field("side", &self.side).finish_non_exhaustive()
    }
}

impl Instruments {
    pub(crate) fn new(side: Side, environment: &Environment) -> Self {
        let duration = global::meter("mesh")
            .f64_histogram(side.metric())
            .with_unit("s")
            .with_description("Duration of calls, from the request to the end of the answer.")
            .with_boundaries(BOUNDARIES.to_vec())
            .build();
        Self { side, duration, clock: environment.clock.clone(), seen: environment.seen.clone() }
    }

    /// Begins to observe a call; `called` says whom it calls, where this is the calling end.
    pub(crate) fn begin(
        &self,
        path: Option<PathAndQuery>,
        span: Span,
        called: Option<Called>,
    ) -> Observation {
        let started = self.clock.monotonic();
        Observation { started, instruments: self.clone(), path, span, called, ended: false }
    }
}

/// Whom a call is for.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) edge: Arc<Edge>,
    /// Whether it is made in serving a request.
    pub(crate) in_request: bool,
    /// The head of the answer, for the version that gave it; empty until there is one.
    pub(crate) version: Option<HeaderValue>,
    /// Whether it matters how long it takes.
    pub(crate) is_timed: bool,
}

/// One call under observation. Dropped before its end, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct Observation {
    instruments: Instruments,
    path: Option<PathAndQuery>,
    span: Span,
    called: Option<Called>,
    started: Instant,
    ended: bool,
}

impl Observation {
    /// Ends the observation; only the first end counts.
    pub(crate) fn end(&mut self, code: Code, description: Option<&str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.record_span(code, description);
        self.record_duration(code);
        // The span ends now, not when the last frame's owner is dropped.
        self.span = Span::none();
    }

    fn record_span(&self, code: Code, description: Option<&str>) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("rpc.grpc.status_code", i32::from(code));
        if self.instruments.side.fails_with(code) {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("otel.status_description", description.unwrap_or(code_name(code)));
            self.span.record("error.type", code_name(code));
        }
    }

    fn record_duration(&self, code: Code) {
        let elapsed = self.instruments.clock.monotonic().saturating_duration_since(self.started);
        let path = self.path.as_ref().map_or("", PathAndQuery::path);
        let status = KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code)));
        let duration = &self.instruments.duration;
        let Some(called) = &self.called else {
            let method = self.instruments.seen.served().method(path, code != Code::Unimplemented);
            method.record(is_failure(code));
            if !telemetry::is_measured() {
                return;
            }
            let [service, method] = method.attributes();
            let system = KeyValue::new("rpc.system", "grpc");
            return duration.record(elapsed.as_secs_f64(), &[system, service, method, status]);
        };
        let method = called.edge.method(path);
        let calls = method.answered(called.version.as_ref());
        calls.ended(code, called.is_timed.then_some(elapsed), called.in_request);
        if !telemetry::is_measured() {
            return;
        }
        let [system, service, name, peer] = method.attributes().clone();
        let attributes = [system, service, name, peer, status];
        match calls.peer_version() {
            Some(version) => {
                let [system, service, name, peer, status] = attributes;
                duration.record(elapsed.as_secs_f64(), &[system, service, name, peer, status, version]);
            }
            None => duration.record(elapsed.as_secs_f64(), &attributes),
        }
    }

    /// The version that answers, as the head of the answer tells it.
    pub(crate) fn answered_by(&mut self, version: Option<&HeaderValue>) {
        if let Some(called) = &mut self.called {
            called.version = version.cloned();
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.end(Code::Cancelled, Some("given up by the caller"));
    }
}

pin_project! {
    /// An answer's body under observation.
    #[derive(Debug)]
    pub(crate) struct Observed<B> {
        #[pin]
        body: B,
        observation: Option<Observation>,
    }
}

impl<B: Body> Observed<B> {
    /// Observes the answer to its end. The head may be the end: an error without a body.
    pub(crate) fn new(
        head: &HeaderMap,
        status: Option<&Status>,
        body: B,
        observation: Option<Observation>,
    ) -> Self {
        let mut observation = observation;
        let code = code_of(head).or_else(|| body.is_end_stream().then_some(Code::Unknown));
        if let (Some(observation), Some(code)) = (&mut observation, code) {
            observation.end(code, status.map(Status::message));
        }
        Self { body, observation }
    }
}

impl<B: Body<Data = Bytes, Error = Status>> Body for Observed<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        if let Some(observation) = this.observation {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        observation.end(code_of(trailers).unwrap_or(Code::Unknown), None);
                    }
                }
                Some(Err(status)) => observation.end(status.code(), Some(status.message())),
                // A body may end without trailers only after an error in its head, which ended the observation.
                None => observation.end(Code::Unknown, None),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
