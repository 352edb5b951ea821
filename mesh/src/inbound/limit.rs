//! At most so many requests at once; one more is refused at once, because a queue would only add its latency to that
//! of an overloaded service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use opentelemetry::global;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::errors::{self, Reason};
use crate::rpc;

/// When a caller that was refused may try again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Refuses requests over the limit. A request counts until its answer begins, so that open streams are not counted.
#[derive(Clone, Debug)]
pub(super) struct LimitLayer {
    permits: Arc<Semaphore>,
    limit: u32,
}

impl LimitLayer {
    pub(super) fn new(limit: u32) -> Self {
        let permits = Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS)));
        let observed = permits.clone();
        global::meter("mesh")
            .u64_observable_gauge("rpc.server.active_requests")
            .with_description("Requests that are being worked on.")
            .with_unit("{request}")
            .with_callback(move |gauge| {
                let free = u64::try_from(observed.available_permits()).unwrap_or(0);
                gauge.observe(u64::from(limit).saturating_sub(free), &[]);
            })
            .build();
        Self { permits, limit }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Limit<S> {
    inner: S,
    layer: LimitLayer,
}

impl<S, B> Service<Request<Body>> for Limit<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Held<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Whether the service is healthy must be told above all when it is overloaded.
        if rpc::is_health(request.uri().path()) {
            return Held { inner: Some(self.inner.call(request)), permit: None, limit: self.layer.limit };
        }
        match self.layer.permits.clone().try_acquire_owned() {
            Ok(permit) => {
                Held { inner: Some(self.inner.call(request)), permit: Some(permit), limit: self.layer.limit }
            }
            Err(_) => Held { inner: None, permit: None, limit: self.layer.limit },
        }
    }
}

pin_project! {
    /// A request that holds its place; without an inner future it was refused.
    pub(super) struct Held<F> {
        #[pin]
        inner: Option<F>,
        permit: Option<OwnedSemaphorePermit>,
        limit: u32,
    }
}

impl<F, B> Future for Held<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => {
                let answer = inner.poll(context);
                if answer.is_ready() {
                    *this.permit = None;
                }
                answer
            }
            None => Poll::Ready(Ok(refusal(*this.limit).into_http())),
        }
    }
}

fn refusal(limit: u32) -> tonic::Status {
    errors::retryable(
        Reason::Overloaded,
        format!("the service works on {limit} requests, which is its limit"),
        &[("limit", limit.to_string())],
        RETRY_AFTER,
    )
}
