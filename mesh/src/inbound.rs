//! Serving: one stack of layers, read top to bottom in [`Server::serve`].

mod causal;
mod concerns;
mod config;
mod connections;
mod deadline;
mod describe;
mod fault;
mod health;
mod limit;
mod mend;
mod panic;
mod reflection;
mod trace;
mod version;

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tower::ServiceBuilder;

pub use concerns::{Concern, Concerns};
pub use config::InboundConfig;
pub use health::Health;

use crate::environment::{Environment, Threads};
use crate::proto::v1::mesh_service_server::MeshServiceServer;
use crate::rpc::{Instruments, Side};
use crate::seen::Serving;
use crate::version::Description;
use causal::CausalLayer;
use connections::{Arrivals, Open, Stack, Terms};
use deadline::DeadlineLayer;
use describe::DescribeService;
use fault::FaultLayer;
use health::HealthService;
use limit::LimitLayer;
use mend::MendLayer;
use panic::PanicLayer;
use trace::TraceLayer;
use version::VersionLayer;

/// How long connections that were cut off may take to be dropped; none of them waits for anything by then.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a server could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors given for reflection are not descriptors: a defect of the service.
    #[error("the descriptors for reflection are not valid: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// Opens a connection on the thread on which it is served.
fn open(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    // An answer is small and is waited for: it must not wait for more bytes to fill a packet.
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// A gRPC server: what it serves, with health, reflection, limits and drain around it.
#[derive(Debug)]
pub struct Server {
    service_names: Vec<&'static str>,
    config: InboundConfig,
    environment: Environment,
    health: Health,
    draining: CancellationToken,
    description: Option<Description>,
    concerns: Concerns,
}

impl Server {
    /// A server of the services with these full names (`package.Service`).
    #[must_use]
    pub fn new(service_names: &[&'static str], config: &InboundConfig, environment: &Environment) -> Self {
        Self {
            service_names: service_names.to_vec(),
            config: config.clone(),
            environment: environment.clone(),
            health: Health::new(),
            draining: CancellationToken::new(),
            description: None,
            concerns: Concerns::default(),
        }
    }

    /// States what the server is: it is told by `gameshelf.mesh.v1`, each answer carries the version, and a caller whose
    /// stated range the version does not meet is refused with `VERSION_INCOMPATIBLE`. A version in the configuration takes
    /// the place of the description's.
    #[must_use]
    pub fn described(mut self, description: Description) -> Self {
        let version = self.config.service_version.clone().unwrap_or(description.version);
        self.description = Some(Description { version, ..description });
        self
    }

    /// The handle by which the service says that it serves. It begins as not serving.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The handle by which the service tells what it finds unsafe about how it runs.
    #[must_use]
    pub fn concerns(&self) -> Concerns {
        self.concerns.clone()
    }

    /// Cancelled when the server begins to drain: a service ends its streams by it, for an open stream would hold
    /// the drain up until its timeout.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Serves until `shutdown` is cancelled; then says `NOT_SERVING`, accepts no more connections, and returns once the
    /// requests in flight have ended, or the drain timeout has passed.
    ///
    /// `descriptors` are the encoded `FileDescriptorSet`s of the services, for reflection. Dropping the future stops
    /// accepting, without a drain.
    ///
    /// # Errors
    /// When the descriptors are not valid.
    pub async fn serve(
        self,
        listener: TcpListener,
        routes: Routes,
        descriptors: &[&'static [u8]],
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let accepted = stream::poll_fn(move |context| listener.poll_accept(context).map(Some));
        // It is served on another thread, perhaps, and belongs to that one then.
        let incoming = accepted.map(|accepted| accepted?.0.into_std());
        let threads = self.environment.threads.clone();
        self.serve_connections(Arrivals { incoming, open, threads }, routes, descriptors, shutdown).await
    }

    /// As [`Self::serve`], on connections of any kind, all on this thread: those of a simulated network, say.
    ///
    /// # Errors
    /// When the descriptors are not valid.
    pub async fn serve_incoming<S>(
        self,
        incoming: impl Stream<Item = io::Result<S>>,
        routes: Routes,
        descriptors: &[&'static [u8]],
        shutdown: CancellationToken,
    ) -> Result<(), ServeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let arrivals = Arrivals { incoming, open: Ok, threads: Threads::default() };
        self.serve_connections(arrivals, routes, descriptors, shutdown).await
    }

    async fn serve_connections<A, I>(
        self,
        arrivals: Arrivals<impl Stream<Item = io::Result<A>>, impl Open<A, I>>,
        routes: Routes,
        descriptors: &[&'static [u8]],
        shutdown: CancellationToken,
    ) -> Result<(), ServeError>
    where
        A: Send + 'static,
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stack = self.stack(self.routes(routes, descriptors)?);
        let terms = Terms::new(&self.config);
        let mut serving = pin!(connections::serve(arrivals, stack, &terms, self.stopping(shutdown)));
        tokio::select! {
            () = &mut serving => return Ok(()),
            () = self.drain_timeout() => {}
        }
        tracing::warn!(
            drain_timeout_ms = self.config.drain_timeout_ms,
            "the time to drain is over: what is still in flight is cut off"
        );
        terms.cut.cancel();
        // That it is not over by then changes nothing: nobody waits for it any more.
        let _ = tokio::time::timeout(CUT_TIMEOUT, serving).await;
        Ok(())
    }

    fn routes(&self, routes: Routes, descriptors: &[&'static [u8]]) -> Result<Routes, ServeError> {
        let health = HealthService { health: self.health.clone(), service_names: self.service_names.clone() };
        let mut routes = routes.add_service(HealthServer::new(health));
        let (mut names, mut descriptors) = (self.service_names.clone(), descriptors.to_vec());
        if let Some(description) = &self.description {
            let service = DescribeService::new(description, &self.concerns, &self.environment);
            routes = routes.add_service(MeshServiceServer::new(service));
            names.push(describe::SERVICE_NAME);
            descriptors.push(crate::proto::DESCRIPTORS);
        }
        Ok(reflection::add(routes, &names, &descriptors)?.prepare())
    }

    /// The way of each request, from the top to the bottom, and of its answer back up.
    fn stack(&self, routes: Routes) -> impl Stack {
        let instruments = Instruments::new(Side::Server, &self.environment);
        ServiceBuilder::new()
            // Outermost, so that what the layers below refuse is seen and measured too.
            .layer(TraceLayer { instruments, random: self.environment.random.clone() })
            // Around the limit, so that a refusal too tells which version refused; and a caller that cannot use this
            // version takes no place of one that can.
            .layer(VersionLayer::new(self.description.as_ref()))
            // Below what tells the version, which a caller must see of every refusal; above all that does something for the request.
            .layer(FaultLayer::new(&self.config, &self.environment))
            // Around the context of the request, which it begins, and to which it listens for the answer.
            .layer(CausalLayer)
            // Around all that the service does, so that the calls it makes inherit what is left; and around the queue, so
            // that waiting counts, and what has waited for too long is dropped from it.
            .layer(DeadlineLayer::new(&self.config, Serving::new(&self.environment.seen)))
            // Before anything is done for the request: refusing must be cheap.
            .layer(LimitLayer::new(&self.config))
            // Next to tonic's generated code, whose errors it mends.
            .layer(MendLayer)
            // Innermost: a panic unwinds through no layer, and so leaves none in a state between two.
            .layer(PanicLayer)
            .service(routes)
    }

    async fn stopping(&self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        tracing::info!(drain_timeout_ms = self.config.drain_timeout_ms, "draining");
        // First of all no new requests should come; then the streams, which would never end by themselves.
        self.health.drain();
        self.draining.cancel();
    }

    async fn drain_timeout(&self) {
        self.draining.cancelled().await;
        tokio::time::sleep(self.config.drain_timeout()).await;
    }
}
