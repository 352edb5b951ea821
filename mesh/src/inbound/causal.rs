//! Takes what the caller has seen from the request, and tells with the answer what was seen in handling it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::causal::Causal;

/// Carries causal tokens in and out.
#[derive(Clone, Copy, Debug)]
pub(super) struct CausalLayer;

impl<S> Layer<S> for CausalLayer {
    type Service = Carried<S>;

    fn layer(&self, inner: S) -> Carried<S> {
        Carried { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Carried<S> {
    inner: S,
}

/// Adds what was seen to an answer.
pub(super) type Tell<B> = Box<dyn FnOnce(Response<B>) -> Response<B> + Send>;

impl<S, B> Service<Request<Body>> for Carried<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Either<MapOk<S::Future, Tell<B>>, Ready<Result<Response<B>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let causal = match Causal::of_request(request.headers()) {
            Ok(causal) => Arc::new(causal),
            Err(status) => return Either::Right(ready(Ok(status.into_http()))),
        };
        // The layer of the deadline puts it into the context of the request.
        request.extensions_mut().insert(causal.clone());
        let tell = move |mut response: Response<B>| {
            // What a status that is handed on from a callee carries was noted when it came.
            response.headers_mut().remove(crate::causal::HEADER);
            causal.tell_caller(response.headers_mut());
            response
        };
        Either::Left(self.inner.call(request).map_ok(Box::new(tell)))
    }
}
