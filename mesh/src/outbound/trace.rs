//! One client span and one measurement for each call, whatever number of attempts it takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::Address;
use crate::rpc::{self, Instruments, Observed};

/// Observes each call.
#[derive(Clone, Debug)]
pub(super) struct TraceLayer {
    pub(super) instruments: Instruments,
    pub(super) peer: Arc<str>,
    /// None where the peer is not one address but a set of instances.
    pub(super) address: Option<Address>,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Trace<S> {
    inner: S,
    layer: TraceLayer,
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = self.layer.span_of(request.uri().path());
        let mut observation =
            self.layer.instruments.begin(request.uri().path_and_query().cloned(), span.clone());
        let answer = span.in_scope(|| self.inner.call(request)).instrument(span);
        Box::pin(async move {
            match answer.await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = Observed::new(&head.headers, None, body, Some(observation));
                    Ok(Response::from_parts(head, Body::new(body)))
                }
                Err(status) => {
                    observation.end(status.code(), Some(status.message()));
                    Err(status)
                }
            }
        })
    }
}

impl TraceLayer {
    fn span_of(&self, path: &str) -> Span {
        let (service, method) = rpc::split(path);
        tracing::info_span!(
            target: "mesh::rpc",
            "call",
            otel.name = path.trim_start_matches('/'),
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            peer.service = &*self.peer,
            server.address = self.address.as_ref().map(Address::host),
            server.port = self.address.as_ref().map(Address::port),
            rpc.grpc.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
            otel.status_description = field::Empty,
        )
    }
}
