//! A handler that panics ends its own request and nothing else. The hook of the process has logged the panic by then
//! (see [`crate::telemetry`]); nothing of its text goes to the caller.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{CatchUnwind, Map};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::errors::{self, Reason};

type Caught<B> = Result<Result<Response<B>, Infallible>, Box<dyn Any + Send>>;

/// Answers INTERNAL for a handler that panics.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanicLayer;

impl<S> Layer<S> for PanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct CatchPanic<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for CatchPanic<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future =
        Map<CatchUnwind<AssertUnwindSafe<S::Future>>, fn(Caught<B>) -> Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // What the handler shares with others is its own care: locks are poisoned, and its future is dropped here.
        AssertUnwindSafe(self.inner.call(request)).catch_unwind().map(answer)
    }
}

fn answer<B: Default>(caught: Caught<B>) -> Result<Response<B>, Infallible> {
    caught.unwrap_or_else(|_| {
        let message = "the service failed by a defect of its own; its log says more";
        Ok(errors::status(Reason::Panic, message, &[]).into_http())
    })
}
