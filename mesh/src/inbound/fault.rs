//! Faults on purpose: a share of the requests is refused before anything is done for them, so that it can be seen, and tested,
//! what callers do when a server fails.
//!
//! The model is gRPC's fault injection (gRFC A33) and the fault filter of Envoy, of which this is the abort with a share. Neither
//! touches how a server says what and how it is, and neither does this.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::InboundConfig;
use crate::environment::{Environment, Random};
use crate::errors::{self, Reason};
use crate::rpc;

/// Which requests are refused.
#[derive(Debug)]
struct Faults {
    percent: u32,
    /// All methods where none is named.
    methods: Vec<String>,
    random: Arc<dyn Random>,
}

impl Faults {
    /// Why a request is refused; none where it is served.
    fn refusal(&self, path: &str) -> Option<Status> {
        // A server that seems to be away is another fault than one that refuses.
        if rpc::is_infrastructure(path) || !self.is_meant(path) {
            return None;
        }
        if self.random.below(100) >= u64::from(self.percent) {
            return None;
        }
        // Without a word on when to come again: a server that is broken has none either.
        Some(errors::status(
            Reason::FaultInjected,
            format!("refused on purpose, as {}% of the requests are", self.percent),
            &[("percent", self.percent.to_string())],
        ))
    }

    fn is_meant(&self, path: &str) -> bool {
        let (_, method) = rpc::split(path);
        let whole = path.trim_start_matches('/');
        self.methods.is_empty() || self.methods.iter().any(|name| name == method || name == whole)
    }
}

/// Refuses a share of the requests; with a share of nothing it lets everything through.
#[derive(Clone, Debug)]
pub(super) struct FaultLayer {
    faults: Option<Arc<Faults>>,
}

impl FaultLayer {
    pub(super) fn new(config: &InboundConfig, environment: &Environment) -> Self {
        if config.fault_percent == 0 {
            return Self { faults: None };
        }
        let methods: Vec<String> =
            config.fault_methods.iter().filter(|name| !name.is_empty()).cloned().collect();
        tracing::warn!(
            percent = config.fault_percent,
            ?methods,
            "FAULTS ARE INJECTED: this server refuses a share of its requests on purpose, as it was told by inbound-fault-percent"
        );
        let random = environment.random.clone();
        Self { faults: Some(Arc::new(Faults { percent: config.fault_percent, methods, random })) }
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: self.faults.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Faulty<S> {
    inner: S,
    faults: Option<Arc<Faults>>,
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<B>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let refusal = self.faults.as_ref().and_then(|faults| faults.refusal(request.uri().path()));
        match refusal {
            Some(status) => Either::Left(ready(Ok(status.into_http()))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}
