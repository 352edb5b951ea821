//! Puts the parts together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use copy::Status;
use database::OpenError;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::arbiter_service_server as arbiter_service;
use gameshelf::proto::gamelist;
use gameshelf::proto::gamelist::v1::game_list_service_server::GameListServiceServer;
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use gameshelf::{packages, services};
use mesh::environment::{Clock, Environment};
use mesh::file::FileError;
use mesh::inbound::{Health, ServeError, Server};
use mesh::outbound::Dispatch;
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;

use crate::arbiter::Arbiter;
use crate::catalogue::{self, Titles};
use crate::config::Config;
use crate::grpc::Service;
use crate::hub::Hub;
use crate::kept::Kept;
use crate::list::Lister;
use crate::metrics::Metrics;
use crate::purchase::Purchase;
use crate::store::{Store, StoreError};
use crate::watch::Watcher;

/// The full name of the service that is served.
const SERVICE_NAME: &str = "gameshelf.gamelist.v1.GameListService";

/// Why game-list could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The catalogue is missing or wrong.
    #[error("the catalogue {}: {why}", .path.display())]
    Catalog {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is not said where the catalogue comes from.
    #[error("exactly one of --catalog and --purchase-address must be given")]
    CatalogSource,
    /// The file that says where another service is cannot be used.
    #[error(transparent)]
    Addresses(#[from] FileError),
    /// The copy could not be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The copy could not be read.
    #[error("{0}")]
    Copy(String),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl RunError {
    /// Whether whoever starts the service has to change something: the catalogue, a file of addresses, or the database.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::Catalog { .. } | Self::CatalogSource | Self::Addresses(_) => true,
            Self::Database(error) => error.is_misconfigured(),
            _ => false,
        }
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Copy(error.to_string())
    }
}

/// Serves gamelist/v1 on `listener` until `shutdown` is cancelled, and follows the arbiter meanwhile; then lets the calls
/// in flight end. It starts and serves without the arbiter, as soon as there is a copy. Dropping the future stops at once:
/// the copy goes on from its checkpoint at the next start.
///
/// # Errors
///
/// When the catalogue is wrong, the copy cannot be opened, or serving fails.
pub async fn run(
    config: Config,
    environment: Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let watched = catalogue::watch(&config.catalog, &environment).await?;
    let opened = shutdown.run_until_cancelled(Store::open(&config.copy_file, &config.database)).await;
    let Some(store) = opened.transpose()? else { return Ok(()) };
    let store = Arc::new(store);
    let (titles, following) = if let Some(titles) = watched {
        (titles, None)
    } else {
        let purchase = purchase(&config, &environment).await?;
        let (titles, following) = catalogue::follow(purchase, &config, &store, &environment).await?;
        (titles, Some(following))
    };
    let arbiter = dispatch(&config, &environment).await?;

    let watching = &config.watching;
    let hub = Arc::new(Hub::new(watching.streams as usize, watching.queue as usize));
    let target = Arc::new(Kept { store: Arc::clone(&store), hub: Arc::clone(&hub) });
    let copy = copy::follow(target, &arbiter, config.copy(), &environment, shutdown.clone()).await?;
    let status = Arc::clone(copy.status());

    let clock = Arc::clone(&environment.clock);
    let arbiter = Arbiter::new(calls(&config, &arbiter), config.arbiter_page_size, config.arbiter_timeout());
    let metrics = Metrics::new();
    let freshness_wait = config.freshness_wait();
    let lister = Lister { store, status: Arc::clone(&status), arbiter, clock, metrics, freshness_wait };
    let watching = (Arc::new(lister), hub);
    serve(config, &environment, listener, shutdown, watching, titles, status).await?;
    copy.ended().await;
    if let Some(following) = following {
        following.abort();
        // It lets the store go.
        let _ = following.await;
    }
    Ok(())
}

async fn serve(
    config: Config,
    environment: &Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
    (lister, hub): (Arc<Lister>, Arc<Hub>),
    titles: Titles,
    status: Arc<Status>,
) -> Result<(), RunError> {
    let server = Server::new(&[SERVICE_NAME], &config.inbound, environment).described(description(&config));
    let watcher = Watcher { lister, hub, limits: config.watch_limits(), draining: server.draining() };
    let service = GameListServiceServer::new(Service::new(watcher, titles.clone(), config.page_sizes()))
        .max_decoding_message_size(config.inbound.max_message_bytes());
    let (clock, patience) = (Arc::clone(&environment.clock), config.copy().probe_timeout);
    let announcing = announce(server.health(), (status, titles), clock, patience);
    let _announcing = AbortOnDropHandle::new(tokio::spawn(announcing));
    server.serve(listener, Routes::new(service), &[gamelist::DESCRIPTORS], shutdown).await?;
    Ok(())
}

/// Says that the service serves as soon as it can answer something, and goes on saying so without the arbiter. For a
/// moment it waits for the copy to be followed and the titles to be there: whoever asks first should not be told of a degradation
/// that is none.
async fn announce(
    health: Health,
    (status, titles): (Arc<Status>, Titles),
    clock: Arc<dyn Clock>,
    patience: Duration,
) {
    status.answerable().await;
    // Without the arbiter, and without purchase, the copy serves all the same.
    let all = async { tokio::join!(status.followed(clock.as_ref()), titles.tried()) };
    let _ = tokio::time::timeout(patience, all).await;
    health.set_serving(true);
}

/// The arbiter, whatever instances of it there are.
async fn dispatch(config: &Config, environment: &Environment) -> Result<Dispatch, FileError> {
    let dispatch = &config.dispatch;
    let discovery = config.arbiter_address.open(&dispatch.discovery, environment).await?;
    let requirement = &config.arbiter_requires;
    let arbiter = Dispatch::new(services::ARBITER, requirement, &*discovery, dispatch, environment);
    Ok(arbiter.with_policy(format!("/{}/PollChanges", arbiter_service::SERVICE_NAME), config.poll_policy()))
}

/// What this is, for whoever calls it.
fn description(config: &Config) -> Description {
    let package = packages::GAME_LIST;
    let description = Description::new(services::GAME_LIST, of_package(env!("CARGO_PKG_VERSION")))
        .requiring(services::ARBITER, config.arbiter_requires.clone())
        .serving(package.name, package.version);
    match config.catalog.from.purchase_address {
        Some(_) => description.requiring(services::PURCHASE, config.catalog.purchase_requires.clone()),
        None => description,
    }
}

fn calls(config: &Config, arbiter: &Dispatch) -> ArbiterServiceClient<mesh::outbound::Calls> {
    let limit_bytes = config.dispatch.outbound.max_message_bytes();
    ArbiterServiceClient::new(arbiter.calls()).max_decoding_message_size(limit_bytes)
}

/// Purchase, whatever instances of it there are.
async fn purchase(config: &Config, environment: &Environment) -> Result<Purchase, RunError> {
    let address = config.catalog.from.purchase_address.as_ref().ok_or(RunError::CatalogSource)?;
    let dispatch = &config.dispatch;
    let discovery = address.open(&dispatch.discovery, environment).await?;
    let requirement = &config.catalog.purchase_requires;
    let purchase = Dispatch::new(services::PURCHASE, requirement, &*discovery, dispatch, environment);
    let client = PurchaseServiceClient::new(purchase.calls());
    Ok(Purchase::new(client.max_decoding_message_size(dispatch.outbound.max_message_bytes())))
}
