//! The deadline of each request: read from its caller, limited, carried along to the calls made for it, and told as
//! `DEADLINE_EXCEEDED`.
//!
//! tonic watches `grpc-timeout` as well and would say CANCELLED. Its timer stands outside of all layers and begins
//! after this one's, and it asks the layers first, so that this layer answers before it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::InboundConfig;
use crate::deadline::{REQUEST, RequestContext, timeout_of};
use crate::errors;
use crate::rpc::{self, Ending, Until};
use crate::seen::{Made, Serving};

/// Ends requests at their deadline.
#[derive(Clone, Debug)]
pub(super) struct DeadlineLayer {
    serving: Arc<Serving>,
    default: Duration,
    max: Duration,
}

impl DeadlineLayer {
    pub(super) fn new(config: &InboundConfig, serving: Arc<Serving>) -> Self {
        let max = Duration::from_millis(config.max_deadline_ms);
        Self { serving, default: Duration::from_millis(config.default_deadline_ms).min(max), max }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Status> + Default,
{
    type Response = Response<Until<B, Expiry>>;
    type Error = Infallible;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = timeout_of(request.headers());
        let timeout = asked.map_or(self.layer.default, |asked| asked.min(self.layer.max));
        let now = Instant::now();
        let context = context_of(&request, now + timeout, &self.layer.serving);
        Limited {
            inner: REQUEST.scope(context, self.inner.call(request)),
            expiry: Expiry::new(now, timeout),
            // A stream goes on after its answer has begun, for as long as its caller asked; one without a deadline
            // goes on for ever.
            asked: asked.map(|asked| Expiry::new(now, asked)),
        }
    }
}

fn context_of(request: &Request<Body>, deadline: Instant, serving: &Arc<Serving>) -> RequestContext {
    let headers = request.headers();
    let path = request.uri().path_and_query().filter(|path| !rpc::is_infrastructure(path.path()));
    RequestContext {
        deadline: Some(deadline),
        traceparent: headers.get("traceparent").cloned(),
        tracestate: headers.get("tracestate").cloned(),
        causal: request.extensions().get().cloned().unwrap_or_default(),
        made: Made::of_request(serving, path),
    }
}

pin_project! {
    /// Becomes DEADLINE_EXCEEDED when the time is over.
    #[derive(Debug)]
    pub(super) struct Expiry {
        #[pin]
        sleep: Sleep,
        timeout: Duration,
    }
}

impl Expiry {
    fn new(now: Instant, timeout: Duration) -> Self {
        Self { sleep: tokio::time::sleep_until(now + timeout), timeout }
    }
}

impl Future for Expiry {
    type Output = Status;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Status> {
        let this = self.project();
        this.sleep.poll(context).map(|()| errors::deadline_exceeded(*this.timeout))
    }
}

pin_project! {
    /// A request being answered until its deadline. Its handler is dropped at the deadline.
    pub(super) struct Limited<F> {
        #[pin]
        inner: TaskLocalFuture<RequestContext, F>,
        #[pin]
        expiry: Expiry,
        asked: Option<Expiry>,
    }
}

impl<F, B> Future for Limited<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http_body::Body<Data = Bytes, Error = Status> + Default,
{
    type Output = Result<Response<Until<B, Expiry>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let asked = this.asked.take();
        if let Poll::Ready(answer) = this.inner.poll(context) {
            return Poll::Ready(answer.map(|answer| {
                answer.map(|body| {
                    let asked = if body.is_end_stream() { None } else { asked };
                    Until::new(body, asked, Ending::Trailers)
                })
            }));
        }
        *this.asked = asked;
        this.expiry.poll(context).map(|status| Ok(status.into_http()))
    }
}
