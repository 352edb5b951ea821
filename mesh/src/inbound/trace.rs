//! One server span and one measurement for each call, continuing the caller's trace.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use opentelemetry::global;
use opentelemetry_http::HeaderExtractor;
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span, field};

use crate::environment::Random;
use crate::rpc::{self, Instruments, Observation, Observed};
use crate::{sampling, trace};

/// Observes each call that is the service's own work.
#[derive(Clone, Debug)]
pub(super) struct TraceLayer {
    pub(super) instruments: Instruments,
    pub(super) random: Arc<dyn Random>,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, instruments: self.instruments.clone(), random: Arc::clone(&self.random) }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Trace<S> {
    inner: S,
    instruments: Instruments,
    random: Arc<dyn Random>,
}

impl<S, B> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    type Response = Response<Observed<B>>;
    type Error = Infallible;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // A probe every second would bury the traces of the work.
        if rpc::is_infrastructure(request.uri().path()) {
            return Observing { inner: self.inner.call(request).instrument(Span::none()), observation: None };
        }
        let mut request = request;
        let decision = sampling::decide(request.headers_mut(), &*self.random);
        let span = sampling::decided(decision, || span_of(&request));
        let observation = self.instruments.begin(request.uri().path_and_query().cloned(), span.clone(), None);
        let inner = span.in_scope(|| self.inner.call(request)).instrument(span);
        Observing { inner, observation: Some(observation) }
    }
}

fn span_of(request: &Request<Body>) -> Span {
    let path = request.uri().path();
    let (service, method) = rpc::split(path);
    let span = tracing::info_span!(
        target: "mesh::rpc",
        parent: None,
        "serve",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
    );
    if !span.is_disabled() {
        let headers = HeaderExtractor(request.headers());
        trace::set_parent(&span, global::get_text_map_propagator(|propagator| propagator.extract(&headers)));
    }
    span
}

pin_project! {
    /// A call being answered.
    pub(super) struct Observing<F> {
        #[pin]
        inner: Instrumented<F>,
        observation: Option<Observation>,
    }
}

impl<F, B> Future for Observing<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    type Output = Result<Response<Observed<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match ready!(this.inner.poll(context)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (mut head, body) = response.into_parts();
        let status = head.extensions.remove::<Status>();
        let body = Observed::new(&head.headers, status.as_ref(), body, this.observation.take());
        debug_assert!(status.is_none() || body.is_end_stream(), "an error has no body");
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}
