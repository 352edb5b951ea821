//! Serving: one stack of layers, read top to bottom in [`Server::serve`].

mod config;
mod health;
mod reflection;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::HealthServer;

pub use config::InboundConfig;
pub use health::Health;

use crate::environment::Environment;
use health::HealthService;

/// Why a server could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors given for reflection are not descriptors: a defect of the service.
    #[error("the descriptors for reflection are not valid: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A gRPC server: what it serves, with health, reflection, limits and drain around it.
#[derive(Debug)]
pub struct Server {
    service_names: Vec<&'static str>,
    config: InboundConfig,
    environment: Environment,
    health: Health,
    draining: CancellationToken,
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
        }
    }

    /// The handle by which the service says that it serves. It begins as not serving.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Cancelled when the server begins to drain: a service ends its streams by it, for an open stream would hold
    /// the drain up until its timeout.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Serves until `shutdown` is cancelled; then says NOT_SERVING, accepts no more connections, and returns once the
    /// requests in flight have ended, or the drain timeout has passed.
    ///
    /// `descriptors` are the encoded `FileDescriptorSet`s of the services, for reflection. Dropping the future stops
    /// accepting, without a drain.
    ///
    /// # Errors
    /// When the descriptors are not valid or the transport fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        routes: Routes,
        descriptors: &[&'static [u8]],
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let health = HealthService { health: self.health.clone(), service_names: self.service_names.clone() };
        let routes = routes.add_service(HealthServer::new(health));
        let routes = reflection::add(routes, &self.service_names, descriptors)?;
        let _ = &self.environment;
        let config = &self.config;
        let (health, draining) = (self.health.clone(), self.draining.clone());
        let stopping = async move {
            shutdown.cancelled().await;
            health.drain();
            draining.cancel();
        };
        let serving = tonic::transport::Server::builder()
            .max_concurrent_streams(config.max_streams_per_connection)
            .http2_keepalive_interval(Some(Duration::from_millis(config.keepalive_interval_ms)))
            .http2_keepalive_timeout(Some(Duration::from_millis(config.keepalive_timeout_ms)))
            .add_routes(routes)
            // tonic ignores its own `tcp_nodelay` for a listener that is passed in.
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopping);
        let cut = async {
            self.draining.cancelled().await;
            tokio::time::sleep(config.drain_timeout()).await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = cut => {
                tracing::warn!(drain_timeout_ms = config.drain_timeout_ms, "requests were cut off at the end of the drain");
                Ok(())
            }
        }
    }
}
