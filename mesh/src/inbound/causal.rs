//! Takes what the caller has seen from the request, and tells with the answer what was seen in handling it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::causal::Causal;
use crate::rpc::{Stamp, Stamped};

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

/// Tells what was seen in handling a call; nothing of a call that was refused before.
pub(super) struct Tell(Option<Arc<Causal>>);

impl Stamp for Tell {
    fn stamp(&self, headers: &mut HeaderMap) {
        // What a status that is handed on from a callee carries was noted when it came.
        headers.remove(crate::causal::HEADER);
        if let Some(causal) = &self.0 {
            causal.tell_caller(headers);
        }
    }
}

impl<S, B> Service<Request<Body>> for Carried<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Stamped<S::Future, Tell, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let causal = match Causal::of_request(request.headers()) {
            Ok(causal) => Arc::new(causal),
            Err(status) => return Stamped::answered(status.into_http(), &Tell(None)),
        };
        // The layer of the deadline puts it into the context of the request.
        request.extensions_mut().insert(causal.clone());
        Stamped::waiting(self.inner.call(request), Tell(Some(causal)))
    }
}
