//! Calling others: one stack of layers, read top to bottom in [`Outbound::new`].

mod address;
mod attempt;
mod backoff;
mod causal;
mod config;
mod deadline;
pub mod discovery;
pub mod dispatch;
mod retry;
mod size;
mod trace;
mod transport;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};

pub use address::{Address, AddressError};
pub use config::OutboundConfig;
pub use dispatch::{Dispatch, DispatchConfig};

use crate::environment::Environment;
use crate::rpc::{Instruments, Side};
use attempt::AttemptLayer;
use backoff::Backoff;
use causal::CausalLayer;
use deadline::DeadlineLayer;
pub use retry::EARLIER_ATTEMPTS;
use retry::RetryLayer;
use trace::TraceLayer;
use transport::Transport;

type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// One peer, and the two ways to call it. Cheap to clone; all clones share one connection.
#[derive(Clone, Debug)]
pub struct Outbound {
    calls: Calls,
    streams: Streams,
}

impl Outbound {
    /// Makes the stacks for a peer. The connection is made by the first call: this never blocks and never fails, but
    /// must run inside a tokio runtime.
    #[must_use]
    pub fn new(
        peer_name: &str,
        address: &Address,
        config: &OutboundConfig,
        environment: &Environment,
    ) -> Self {
        let peer: Arc<str> = Arc::from(peer_name);
        let edge = environment.seen.edge(&peer);
        let transport = Transport::new(&peer, address, config, environment);
        let trace = TraceLayer {
            instruments: Instruments::new(Side::Client, environment),
            random: environment.random.clone(),
            edge: edge.clone(),
            is_timed: true,
            address: Some(address.clone()),
        };
        let backoff = Backoff::new(config.backoff_base_ms, config.backoff_max_ms, environment.random.clone());
        let attempt = AttemptLayer { timeout: config.attempt_timeout() };
        let calls = ServiceBuilder::new()
            // Outermost, so that one span shows the whole call: its attempts, its waits, its outcome.
            .layer(trace.clone())
            // What was seen is the call's, whichever attempt is answered.
            .layer(CausalLayer)
            // Above the retries, because the deadline is the caller's and holds for all of them together.
            .layer(DeadlineLayer { timeout: config.timeout() })
            // A peer that restarts is back in a moment; its callers need not know.
            .layer(RetryLayer::new(config.attempts, config.max_message_bytes(), backoff, edge))
            // Each attempt carries its own headers, and is given up when the peer does not answer.
            .layer(attempt)
            .service(transport.clone());
        let streams = ServiceBuilder::new()
            .layer(TraceLayer { is_timed: false, ..trace })
            .layer(CausalLayer)
            // A stream has no end by itself and is resumed by whoever reads it, from where it was: only its opening
            // is limited.
            .layer(attempt)
            .service(transport);
        Self {
            calls: Calls { stack: BoxCloneSyncService::new(calls) },
            streams: Streams { stack: BoxCloneSyncService::new(streams) },
        }
    }

    /// For unary calls: deadline, bounded retry, attempt timeout, trace.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// For long-lived server streams: trace and a timeout for opening, but no deadline and no retry.
    #[must_use]
    pub fn streams(&self) -> Streams {
        self.streams.clone()
    }
}

macro_rules! grpc_service {
    ($(#[doc = $documentation:literal])+ $name:ident) => {
        $(#[doc = $documentation])+
        #[derive(Clone, Debug)]
        pub struct $name {
            stack: Stack,
        }

        impl Service<Request<Body>> for $name {
            type Response = Response<Body>;
            type Error = Status;
            type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

            fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
                self.stack.poll_ready(context)
            }

            fn call(&mut self, request: Request<Body>) -> Self::Future {
                self.stack.call(request)
            }
        }
    };
}

grpc_service! {
    /// What a generated client is given for unary calls: `EchoServiceClient::new(outbound.calls())`. The request is
    /// buffered once, so that it can be repeated byte for byte. Dropping the call's future cancels the call.
    Calls
}

grpc_service! {
    /// What a generated client is given for server streams. Dropping the stream cancels it.
    Streams
}

/// Whether the same call may succeed later: the peer was not there, was overloaded, or did not answer in time.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
