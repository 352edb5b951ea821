//! Puts the parts together and serves.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use database::{OpenError, Unsafe};
use futures_util::TryFutureExt;
use gameshelf::catalog::Catalog;
use gameshelf::proto::purchase::DESCRIPTORS;
use gameshelf::proto::purchase::v1::purchase_service_server::{PurchaseServiceServer, SERVICE_NAME};
use gameshelf::{packages, services};
use mesh::environment::Environment;
use mesh::file::{FileError, Watched};
use mesh::inbound::{Concern, Concerns, Health, ServeError, Server};
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::clients::Clients;
use crate::grpc::Grpc;
use crate::metrics::Metrics;
use crate::purchases::Purchases;
use crate::store::SharedStore;
use crate::{Config, saga, store};

/// Why the service could not go on: one sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The catalogue's file cannot be read.
    #[error("the catalogue {path} cannot be read: {source}")]
    CatalogUnreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The catalogue's file is refused whole.
    #[error("the catalogue {path} is wrong: {why}")]
    CatalogWrong {
        /// The file.
        path: String,
        /// The line, and what is wrong with it.
        why: String,
    },
    /// The file that says where another service is cannot be used.
    #[error(transparent)]
    Addresses(#[from] FileError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A task that the service cannot do without ended early.
    #[error("a defect: {0}")]
    Defect(String),
}

impl RunError {
    /// Whether whoever starts the service has to change something: the catalogue, a file of addresses, or the database.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::CatalogUnreadable { .. } | Self::CatalogWrong { .. } | Self::Addresses(_) => true,
            Self::Store(error) => error.is_misconfigured(),
            _ => false,
        }
    }
}

/// Serves until `shutdown` is cancelled; then drains and finishes the steps that are under way. Orders that are
/// not at their end then are finished after the next start.
///
/// While the database cannot be reached, it waits; the health is `NOT_SERVING` and requests are answered with UNAVAILABLE.
/// Dropping the future stops everything at once, as the end of the process would: what is unfinished is finished after
/// the next start.
///
/// # Errors
///
/// When the catalogue or the database cannot be used, or the server fails.
pub async fn run(
    config: Config,
    environment: Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let catalog = crate::catalog::open(&config.catalog, &environment).await?;
    let clients = Clients::new(&config, &environment).await?;
    let server = Server::new(&[SERVICE_NAME], &config.inbound, &environment).described(description(&config));
    let service = Service {
        purchases: Arc::default(),
        health: server.health(),
        concerns: server.concerns(),
        // Ends with this future too, so that nothing goes on unseen when it is dropped.
        stopping: shutdown.child_token(),
        catalog,
        clients,
        environment,
    };
    let _guard = service.stopping.clone().drop_guard();
    let grpc = Grpc::new(
        Arc::clone(&service.purchases),
        service.catalog.clone(),
        Duration::from_millis(config.buy_wait_ms),
        config.catalog_pages(),
    );
    let routes = Routes::new(
        PurchaseServiceServer::new(grpc).max_decoding_message_size(config.inbound.max_message_bytes()),
    );
    let serving = server.serve(listener, routes, &[DESCRIPTORS], shutdown).map_err(RunError::from);
    let ((), store) = tokio::try_join!(serving, Box::pin(service.work(&config)))?;
    if let Some(store) = store {
        store.close().await;
    }
    Ok(())
}

struct Service {
    purchases: Arc<OnceLock<Purchases>>,
    health: Health,
    concerns: Concerns,
    stopping: CancellationToken,
    catalog: Watched<Catalog>,
    clients: Clients,
    environment: Environment,
}

/// What this is, for whoever calls it.
fn description(config: &Config) -> Description {
    let package = packages::PURCHASE;
    Description::new(services::PURCHASE, of_package(env!("CARGO_PKG_VERSION")))
        .requiring(services::ARBITER, config.arbiter_requires.clone())
        .requiring(services::PAYMENT, config.payment_requires.clone())
        .serving(package.name, package.version)
}

impl Service {
    /// Opens the store, works until the service stops, and returns the store, which requests may still use.
    async fn work(&self, config: &Config) -> Result<Option<SharedStore>, RunError> {
        let (url, timeout) = (&config.database_url, config.statement_timeout());
        let open = || store::open(url, &config.database, timeout);
        let opening = database::open_with_retry(config.database.retry(), open);
        let store = tokio::select! {
            opened = opening => opened?,
            () = self.stopping.cancelled() => return Ok(None),
        };
        for Unsafe { message, advice } in database::unsafe_settings(url, &config.database.postgres()).await {
            self.concerns.raise(Concern { reason: Unsafe::REASON.to_owned(), message, advice });
        }
        let metrics = Metrics::new();
        let parts = self.parts(&store, &metrics);
        let (saga, mut tasks) = saga::start(parts, config, self.stopping.clone()).await;
        let purchases =
            Purchases { store: Arc::clone(&store), saga, environment: self.environment.clone(), metrics };
        // It is set here alone, and once.
        let _ = self.purchases.set(purchases);
        self.health.set_serving(true);
        tracing::info!(database = %config.database_url, games = self.catalog.current().len(), "serving");
        while let Some(ended) = tasks.join_next().await {
            // Without its worker the service would take orders that nobody finishes.
            ended.map_err(|error| RunError::Defect(error.to_string()))?;
        }
        Ok(Some(store))
    }

    fn parts(&self, store: &SharedStore, metrics: &Metrics) -> saga::Parts {
        saga::Parts {
            store: Arc::clone(store),
            clients: self.clients.clone(),
            environment: self.environment.clone(),
            metrics: metrics.clone(),
        }
    }
}
