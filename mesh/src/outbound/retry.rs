//! Bounded retry of what is safe to repeat: only UNAVAILABLE, only within the deadline, and byte for byte, so that the
//! same request id comes again and has its one effect.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service, ServiceExt};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::backoff::Backoff;
use super::deadline::CallDeadline;
use super::size::PREFIX_BYTES;
use crate::seen::Edge;
use crate::version::VERSION_HEADER;
use crate::{errors, rpc};

/// The metadata of an answer that tell the reasons, or codes, of the attempts before it, where there were any, with ", " between: what
/// the last one says of itself, such as that it wrote nothing, need not hold for those before it.
pub const EARLIER_ATTEMPTS: &str = "mesh-earlier-attempts";

/// Repeats calls that found the peer unavailable.
#[derive(Clone)]
pub(super) struct RetryLayer {
    attempts: u32,
    max_message_bytes: usize,
    backoff: Backoff,
    edge: Arc<Edge>,
    retries: Counter<u64>,
}

impl RetryLayer {
    pub(super) fn new(attempts: u32, max_message_bytes: usize, backoff: Backoff, edge: Arc<Edge>) -> Self {
        let retries = global::meter("mesh")
            .u64_counter("mesh.client.retries")
            .with_description("Attempts at calls beyond the first.")
            .with_unit("{attempt}")
            .build();
        Self { attempts, max_message_bytes, backoff, edge, retries }
    }

    /// How long to wait after a failed attempt; none when it was the last.
    fn wait(&self, attempt: u32, status: &Status, deadline: Option<Instant>) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let asked = errors::asked_delay(status).unwrap_or_default();
        let wait = self.backoff.delay(attempt).max(asked.min(self.backoff.max()));
        // An attempt that could not begin before the deadline would only hide the reason behind a timeout.
        match deadline {
            Some(deadline) if Instant::now() + wait >= deadline => None,
            _ => Some(wait),
        }
    }

    fn note(&self, parts: &Parts, attempt: u32, wait: Duration) {
        let attempt = i64::from(attempt);
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Span::current().add_event(
            "retry",
            vec![KeyValue::new("mesh.attempt", attempt), KeyValue::new("mesh.backoff_ms", wait_ms)],
        );
        let path = parts.uri.path();
        let (service, method) = rpc::split(path);
        tracing::debug!(target: "mesh::retry", peer = self.edge.name(), service, method, attempt, wait_ms, "unavailable: trying again");
        self.retries.add(1, self.edge.method(path).attributes());
    }
}

impl fmt::Debug for RetryLayer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RetryLayer").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Retry<S> {
    inner: S,
    layer: RetryLayer,
}

impl<S> Service<Request<Body>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each attempt waits for its own readiness.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(repeat(self.inner.clone(), self.layer.clone(), request))
    }
}

async fn repeat<S>(inner: S, layer: RetryLayer, request: Request<Body>) -> Result<Response<Body>, Status>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status> + Clone,
{
    let (parts, body) = request.into_parts();
    let body = buffer(body, layer.max_message_bytes).await?;
    let deadline = parts.extensions.get().map(|deadline: &CallDeadline| deadline.at);
    let mut attempt = 1;
    let mut earlier: Vec<String> = Vec::new();
    loop {
        let request = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
        let answer = inner.clone().oneshot(request).await;
        if attempt > 1 {
            layer.edge.method(parts.uri.path()).answered(version_of(&answer)).retried(false);
        }
        let failed = unavailable(&answer);
        let wait = failed.as_ref().and_then(|status| layer.wait(attempt, status, deadline));
        let Some(wait) = wait else {
            Span::current().set_attribute("mesh.attempts", i64::from(attempt));
            return if earlier.is_empty() { answer } else { told(answer, &earlier) };
        };
        earlier.extend(failed.as_ref().map(reason));
        layer.note(&parts, attempt, wait);
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// An answer that says what the attempts before it came to.
fn told(answer: Result<Response<Body>, Status>, earlier: &[String]) -> Result<Response<Body>, Status> {
    let text = earlier.join(", ");
    match answer {
        Ok(mut response) => {
            if let Ok(text) = text.parse::<HeaderValue>() {
                response.headers_mut().insert(EARLIER_ATTEMPTS, text);
            }
            Ok(response)
        }
        Err(mut status) => {
            if let Ok(text) = text.parse::<AsciiMetadataValue>() {
                status.metadata_mut().insert(EARLIER_ATTEMPTS, text);
            }
            Err(status)
        }
    }
}

/// The reason of a status, or its code.
fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map_or_else(|| errors::code_name(status.code()).to_owned(), |info| info.reason)
}

/// The version that has answered, where one has.
fn version_of(answer: &Result<Response<Body>, Status>) -> Option<&HeaderValue> {
    answer.as_ref().ok()?.headers().get(VERSION_HEADER)
}

/// The status of an answer that is UNAVAILABLE.
fn unavailable(answer: &Result<Response<Body>, Status>) -> Option<Status> {
    let status = match answer {
        Ok(response) if rpc::code_of(response.headers()) == Some(Code::Unavailable) => {
            Status::from_header_map(response.headers())?
        }
        Ok(_) => return None,
        Err(status) => status.clone(),
    };
    (status.code() == Code::Unavailable).then_some(status)
}

/// The whole request, which is one message with its prefix.
pub(super) async fn buffer(mut body: Body, max_message_bytes: usize) -> Result<Bytes, Status> {
    let limit = max_message_bytes.saturating_add(PREFIX_BYTES);
    let mut buffered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if buffered.len() + data.len() > limit {
            let bytes = (buffered.len() + data.len()).saturating_sub(PREFIX_BYTES);
            return Err(errors::message_too_large(bytes, max_message_bytes));
        }
        buffered.extend_from_slice(&data);
    }
    Ok(buffered.freeze())
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
