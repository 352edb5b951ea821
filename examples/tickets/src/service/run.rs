//! Puts the parts together.

use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Environment;
use mesh::inbound::{ServeError, Server};
use mesh::version::Description;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::config::Config;
use super::grpc::Service;
use super::news::News;
use super::store::{OpenError, Store};
use crate::proto;
use crate::proto::tickets::v1::ticket_service_server::TicketServiceServer;

/// The name that callers know the service by.
const NAME: &str = "tickets";
/// The full name of what is served.
const SERVICE_NAME: &str = "tickets.v1.TicketService";

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl RunError {
    /// Whether whoever starts the service has to change something.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// Serves tickets on `listener` until `shutdown` is cancelled; then lets the calls in flight end, and closes the database.
///
/// # Errors
///
/// When the database cannot be opened, or serving fails.
pub async fn run(
    config: Config,
    environment: Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let opened = shutdown.run_until_cancelled(Store::open(&config)).await;
    let Some(store) = opened.transpose()?.map(Arc::new) else { return Ok(()) };
    let version = config.build.version();
    let description = Description::new(NAME, version.clone()).serving("tickets.v1", version);
    let server = Server::new(&[SERVICE_NAME], &config.inbound, &environment).described(description);
    let news = News::follow(&store, Duration::from_millis(config.poll_ms));
    let service = Service::new(Arc::clone(&store), news, &config, server.draining());
    let routes =
        TicketServiceServer::new(service).max_decoding_message_size(config.inbound.max_message_bytes());
    server.health().set_serving(true);
    server.serve(listener, Routes::new(routes), &[proto::DESCRIPTORS], shutdown).await?;
    store.close().await;
    Ok(())
}
