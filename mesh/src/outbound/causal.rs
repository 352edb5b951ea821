//! Tells each callee what the request being served has seen, and notes what the callee's answer tells.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::causal;

/// Carries causal tokens along.
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

/// An answer from which the request being served learns.
pub(super) type Learning = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

impl<S> Service<Request<Body>> for Carried<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Either<S::Future, Learning>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // Taken now: the answer may be waited for by a task that serves no request.
        let Some(causal) = causal::current() else { return Either::Left(self.inner.call(request)) };
        causal.tell_callee(request.headers_mut());
        let answer = self.inner.call(request);
        Either::Right(Box::pin(async move {
            let answer = answer.await;
            match &answer {
                Ok(response) => causal.learn(response.headers()),
                Err(status) => causal.learn(&status.metadata().clone().into_headers()),
            }
            answer
        }))
    }
}
