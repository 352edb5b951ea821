//! A handler that panics ends its own request and nothing else. The hook of the process has logged the panic by then
//! (see [`crate::telemetry`]); nothing of its text goes to the caller.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{CatchUnwind, Map};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::errors::{self, Reason};
use crate::rpc;

type Caught<B> = Result<Result<Response<B>, Infallible>, Box<dyn Any + Send>>;
type Answer<B> = Result<Response<Guarded<B>>, Infallible>;

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
    type Response = Response<Guarded<B>>;
    type Error = Infallible;
    type Future = Map<CatchUnwind<AssertUnwindSafe<S::Future>>, fn(Caught<B>) -> Answer<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // What the handler shares with others is its own care: locks are poisoned, and its future is dropped here.
        AssertUnwindSafe(self.inner.call(request)).catch_unwind().map(answer)
    }
}

fn answer<B: Default>(caught: Caught<B>) -> Answer<B> {
    match caught {
        Ok(answer) => answer.map(|response| response.map(|body| Guarded { body, ended: false })),
        Err(_) => Ok(panicked().into_http()),
    }
}

fn panicked() -> Status {
    errors::status(Reason::Panic, "the service failed by a defect of its own; its log says more", &[])
}

pin_project! {
    /// A body that ends with INTERNAL when what makes it panics.
    #[derive(Debug, Default)]
    pub(super) struct Guarded<B> {
        #[pin]
        body: B,
        ended: bool,
    }
}

impl<B: http_body::Body<Data = Bytes, Error = Status>> http_body::Body for Guarded<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        // A body that has panicked is not polled again.
        catch_unwind(AssertUnwindSafe(|| this.body.poll_frame(context))).unwrap_or_else(|_| {
            *this.ended = true;
            Poll::Ready(Some(rpc::trailers(&panicked())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
