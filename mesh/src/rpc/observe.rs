//! One call's span and metrics, ended with the call: by its trailers, its error, or by being dropped.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, global};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tracing::Span;

use super::{code_of, split};
use crate::environment::Clock;
use crate::errors::code_name;

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
            Self::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

/// What calls are measured with. Made after the meter provider was set.
#[derive(Clone)]
pub(crate) struct Instruments {
    side: Side,
    duration: Histogram<f64>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Instruments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Instruments").field("side", &self.side).finish_non_exhaustive()
    }
}

impl Instruments {
    pub(crate) fn new(side: Side, clock: Arc<dyn Clock>) -> Self {
        let duration = global::meter("mesh")
            .f64_histogram(side.metric())
            .with_unit("s")
            .with_description("Duration of calls, from the request to the end of the answer.")
            .with_boundaries(BOUNDARIES.to_vec())
            .build();
        Self { side, duration, clock }
    }

    /// Begins to observe a call.
    pub(crate) fn begin(&self, path: Option<PathAndQuery>, span: Span) -> Observation {
        Observation { started: self.clock.monotonic(), instruments: self.clone(), path, span, ended: false }
    }
}

/// One call under observation. Dropped before its end, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct Observation {
    instruments: Instruments,
    path: Option<PathAndQuery>,
    span: Span,
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
        let (service, method) = self.path.as_ref().map_or(("", ""), |path| split(path.path()));
        // Anybody can ask for methods that are not there: their names must not become series of a metric.
        let (service, method) =
            if code == Code::Unimplemented { ("_OTHER", "_OTHER") } else { (service, method) };
        let seconds =
            self.instruments.clock.monotonic().saturating_duration_since(self.started).as_secs_f64();
        self.instruments.duration.record(
            seconds,
            &[
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", service.to_owned()),
                KeyValue::new("rpc.method", method.to_owned()),
                KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))),
            ],
        );
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
