//! One client span and one measurement for each call, whatever number of attempts it takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span, field};

use super::Address;
use crate::environment::Random;
use crate::rpc::{self, Called, Instruments, Observation, Observed};
use crate::seen::Edge;
use crate::version::{VERSION, VERSION_HEADER};
use crate::{deadline, sampling};

/// Observes each call.
#[derive(Clone, Debug)]
pub(super) struct TraceLayer {
    pub(super) instruments: Instruments,
    pub(super) random: Arc<dyn Random>,
    pub(super) edge: Arc<Edge>,
    /// Whether what it observes is over when its answer is: a stream is not, and how long it lasts says nothing.
    pub(super) is_timed: bool,
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
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let decision = sampling::decide_call(&*self.layer.random);
        let span = sampling::decided(decision, || self.layer.span_of(request.uri().path()));
        let observation = self.layer.begin(&request, &span);
        let inner = span.in_scope(|| self.inner.call(request)).instrument(span);
        Observing { inner, observation: Some(observation) }
    }
}

pin_project! {
    /// A call being answered. A type of its own, so that it needs no place on the heap of its own.
    pub(super) struct Observing<F> {
        #[pin]
        inner: Instrumented<F>,
        observation: Option<Observation>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Status>>> Future for Observing<F> {
    type Output = Result<Response<Body>, Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(context));
        let mut observation = this.observation.take();
        Poll::Ready(match answer {
            Ok(response) => {
                let (head, body) = response.into_parts();
                if let Some(observation) = &mut observation {
                    observation.answered_by(head.headers.get(VERSION_HEADER));
                }
                let body = Observed::new(&head.headers, None, body, observation);
                Ok(Response::from_parts(head, Body::new(body)))
            }
            Err(status) => {
                if let Some(observation) = &mut observation {
                    observation.answered_by(version_of(&status).as_ref());
                    observation.end(status.code(), Some(status.message()));
                }
                Err(status)
            }
        })
    }
}

impl TraceLayer {
    fn begin(&self, request: &Request<Body>, span: &Span) -> Observation {
        let path = request.uri().path_and_query();
        let is_work = path.is_some_and(|path| !rpc::is_infrastructure(path.path()));
        let called = Called {
            edge: self.edge.clone(),
            // Counted where the call is made: its answer may be waited for by another task.
            in_request: is_work && deadline::count_call(&self.edge),
            version: None,
            is_timed: self.is_timed,
        };
        self.instruments.begin(path.cloned(), span.clone(), Some(called))
    }

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
            peer.service = self.edge.name(),
            server.address = self.address.as_ref().map(Address::host),
            server.port = self.address.as_ref().map(Address::port),
            rpc.grpc.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
            otel.status_description = field::Empty,
        )
    }
}

/// The version that has refused, where one has.
fn version_of(status: &Status) -> Option<HeaderValue> {
    HeaderValue::from_bytes(status.metadata().get(VERSION)?.as_encoded_bytes()).ok()
}
