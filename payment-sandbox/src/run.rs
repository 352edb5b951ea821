//! Puts the parts together.

use std::sync::Arc;

use database::OpenError;
use gameshelf::proto::payment;
use gameshelf::proto::payment::v1::payment_service_server::PaymentServiceServer;
use gameshelf::{packages, services};
use mesh::environment::Environment;
use mesh::inbound::{ServeError, Server};
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::books::Books;
use crate::config::Config;
use crate::grpc::Service;
use crate::store;

/// The full name of the service that is served.
const SERVICE_NAME: &str = "gameshelf.payment.v1.PaymentService";

/// Why the sandbox could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The books could not be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl RunError {
    /// Whether whoever starts the service has to change something.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_misconfigured())
    }
}

/// Serves payment/v1 on `listener` until `shutdown` is cancelled; then lets the calls in flight end, and closes the
/// books. Dropping the future stops at once: what was answered is on disk.
///
/// # Errors
///
/// When the books cannot be opened, or serving fails.
pub async fn run(
    config: Config,
    environment: Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let options = config.database.sqlite();
    let open = || database::open_sqlite(&config.database_file, &options, store::MIGRATIONS);
    let opened = shutdown.run_until_cancelled(database::open_with_retry(config.database.retry(), open)).await;
    let Some(database) = opened.transpose()? else { return Ok(()) };
    let (queue, batch) = (config.queue_calls as usize, config.batch_calls as usize);
    let (books, writer) = Books::start(database, Arc::clone(&environment.clock), queue, batch);
    let service = PaymentServiceServer::new(Service::new(books, config.slow()))
        .max_decoding_message_size(config.inbound.max_message_bytes());
    let package = packages::PAYMENT;
    let description = Description::new(services::PAYMENT, of_package(env!("CARGO_PKG_VERSION")))
        .serving(package.name, package.version);
    let server = Server::new(&[SERVICE_NAME], &config.inbound, &environment).described(description);
    server.health().set_serving(true);
    server.serve(listener, Routes::new(service), &[payment::DESCRIPTORS], shutdown).await?;
    // No handle is left, so the writer ends once all that was enqueued is on disk.
    if let Err(error) = writer.await {
        tracing::error!(%error, "the writer of the books failed");
    }
    Ok(())
}
