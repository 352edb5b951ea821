//! At most so many requests at once, and a few that wait for a place, but not for long. What cannot have a place soon is
//! refused, with the time after which it may come again: a longer queue would add its latency to that of an overloaded
//! service, and the answers would come when nobody waits for them any more.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry::global;
use opentelemetry::metrics::Counter;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tower::{Layer, Service};

use super::InboundConfig;
use crate::errors::{self, Reason};
use crate::rpc;

/// When a caller that was refused may try again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The limits, and how far they are used.
#[derive(Debug)]
struct Places {
    /// Places to be worked on.
    working: Arc<Semaphore>,
    /// Places to wait for one.
    waiting: Arc<Semaphore>,
    limit: u32,
    queue_limit: u32,
    queue_time: Duration,
    refused: Counter<u64>,
}

/// Refuses requests over the limit. A request counts until its answer begins, so that open streams are not counted.
#[derive(Clone, Debug)]
pub(super) struct LimitLayer {
    places: Arc<Places>,
}

impl LimitLayer {
    pub(super) fn new(config: &InboundConfig) -> Self {
        let working = semaphore(
            "rpc.server.active_requests",
            "Requests that are being worked on.",
            config.max_in_flight,
        );
        let waiting = semaphore(
            "mesh.server.queued_requests",
            "Requests that wait to be worked on.",
            config.max_queued,
        );
        let refused = global::meter("mesh")
            .u64_counter("mesh.server.refused_requests")
            .with_description("Requests that were refused because the service had no place for them.")
            .with_unit("{request}")
            .build();
        let places = Places {
            working,
            waiting,
            limit: config.max_in_flight,
            queue_limit: config.max_queued,
            queue_time: Duration::from_millis(config.max_queue_ms),
            refused,
        };
        Self { places: Arc::new(places) }
    }
}

/// So many places, with a gauge of those that are taken.
fn semaphore(name: &'static str, description: &'static str, limit: u32) -> Arc<Semaphore> {
    let places = Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS)));
    let observed = places.clone();
    global::meter("mesh")
        .u64_observable_gauge(name)
        .with_description(description)
        .with_unit("{request}")
        .with_callback(move |gauge| {
            let free = u64::try_from(observed.available_permits()).unwrap_or(0);
            gauge.observe(u64::from(limit).saturating_sub(free), &[]);
        })
        .build();
    places
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, places: self.places.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Limit<S> {
    inner: S,
    places: Arc<Places>,
}

impl<S, B> Service<Request<Body>> for Limit<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Default + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Held<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if rpc::tells_condition(request.uri().path()) {
            return Held::Working { inner: self.inner.call(request), permit: None };
        }
        if let Ok(permit) = self.places.working.clone().try_acquire_owned() {
            return Held::Working { inner: self.inner.call(request), permit: Some(permit) };
        }
        let inner = self.inner.clone();
        Held::Waiting { waiting: Box::pin(wait(inner, self.places.clone(), request)) }
    }
}

/// Waits for a place, where there is one to wait in; then for the answer.
async fn wait<S, B>(
    mut inner: S,
    places: Arc<Places>,
    request: Request<Body>,
) -> Result<Response<B>, Infallible>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    let permit = match places.waiting.clone().try_acquire_owned() {
        Ok(_waiting) => tokio::time::timeout(places.queue_time, places.working.clone().acquire_owned()).await,
        Err(_) => return Ok(places.refuse()),
    };
    match permit {
        Ok(Ok(_working)) => {
            futures_util::future::poll_fn(|context| inner.poll_ready(context)).await?;
            inner.call(request).await
        }
        _ => Ok(places.refuse()),
    }
}

impl Places {
    fn refuse<B: Default>(&self) -> Response<B> {
        self.refused.add(1, &[]);
        let mut status = errors::retryable(
            Reason::Overloaded,
            format!(
                "the service works on {} requests and lets {} wait for {} ms, which are its limits",
                self.limit,
                self.queue_limit,
                self.queue_time.as_millis()
            ),
            &[
                ("limit", self.limit.to_string()),
                ("queue_limit", self.queue_limit.to_string()),
                ("queue_ms", self.queue_time.as_millis().to_string()),
            ],
            RETRY_AFTER,
        );
        if let Ok(after) = MetadataValue::try_from(RETRY_AFTER.as_millis().to_string()) {
            status.metadata_mut().insert("grpc-retry-pushback-ms", after);
        }
        status.into_http()
    }
}

pin_project! {
    /// A request that holds its place, or waits for one.
    #[project = HeldProjection]
    pub(super) enum Held<F, B> {
        Working { #[pin] inner: F, permit: Option<OwnedSemaphorePermit> },
        // Only what has to wait is worth an allocation.
        Waiting { waiting: Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>> },
    }
}

impl<F, B> Future for Held<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            HeldProjection::Waiting { waiting } => waiting.as_mut().poll(context),
            HeldProjection::Working { inner, permit } => {
                let answer = inner.poll(context);
                if answer.is_ready() {
                    *permit = None;
                }
                answer
            }
        }
    }
}
