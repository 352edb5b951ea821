//! Puts the parts together: the server listens at once, the store is opened and led, and the sequencer runs between them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use database::{Unsafe, open_with_retry};
use gameshelf::proto::arbiter;
use gameshelf::proto::arbiter::v1::arbiter_service_server::SERVICE_NAME;
use gameshelf::tokens::Token;
use gameshelf::{packages, services};
use mesh::environment::Environment;
use mesh::inbound::{Concern, Concerns, Health, ServeError, Server};
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use uuid::Uuid;

use crate::cache::Cache;
use crate::config::Config;
use crate::copies::{Copies, keep as keep_copies};
use crate::digests::{self, LiveDigests, Recovered};
use crate::domain::Revision;
use crate::grpc::{ArbiterGrpc, ArbiterServer, Core, CoreSlot, Imports};
use crate::leadership::{Leading, Lease, TakeError, TakeOptions, keep, take};
use crate::sequencer::{Lead, Sequencer, SequencerError, Start};
use crate::store::{self, SharedStore, Store};
use crate::watch::{Hub, LogTrimmer, Watches};

/// Why the arbiter ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store must not or cannot be opened.
    #[error(transparent)]
    Open(#[from] database::OpenError),
    /// Another arbiter leads the store, and is alive.
    #[error("{0}")]
    Led(String),
    /// The store could not be led.
    #[error("{0}")]
    Lead(String),
    /// Another arbiter took over the store, or it failed to commit.
    #[error("{0}")]
    Sequencer(String),
    /// The server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl RunError {
    /// Whether whoever starts the service has to change something.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::Open(error) => error.is_misconfigured(),
            Self::Led(_) => true,
            Self::Lead(_) | Self::Sequencer(_) | Self::Serve(_) => false,
        }
    }
}

impl From<TakeError> for RunError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Led | TakeError::Contended => Self::Led(error.to_string()),
            TakeError::Store(error) => {
                tracing::error!(%error, "the store could not be led");
                Self::Lead("the store was opened, but could not be written to".to_owned())
            }
        }
    }
}

impl From<SequencerError> for RunError {
    fn from(error: SequencerError) -> Self {
        Self::Sequencer(error.to_string())
    }
}

/// Serves the arbiter on `listener` until `shutdown` is cancelled; then drains: no new requests, those in flight are
/// answered, what is queued is committed, streams end.
///
/// It listens at once, and answers UNAVAILABLE and NOT_SERVING until the store is open; a store on a server that cannot be
/// reached is waited for.
///
/// # Errors
///
/// When the store must not be opened, when another arbiter takes it over, or when the server fails.
pub async fn run(
    config: Config,
    environment: Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let server = Server::new(&[SERVICE_NAME], &config.inbound, &environment).described(description());
    let core = CoreSlot::new(OnceLock::new());
    let max_message_bytes = config.inbound.max_message_bytes();
    let grpc = ArbiterGrpc::new(Arc::clone(&core), config.request_limits());
    let service = ArbiterServer::new(grpc, max_message_bytes);

    let stop_serving = shutdown.child_token();
    let stop_sequencing = CancellationToken::new();
    let arbitration = Arbitration {
        config,
        environment,
        health: server.health(),
        concerns: server.concerns(),
        draining: server.draining(),
        core,
        stop: stop_sequencing.clone(),
    };
    let serving = async {
        let _stop = stop_sequencing.drop_guard();
        let routes = Routes::new(service);
        server.serve(listener, routes, &[arbiter::DESCRIPTORS], stop_serving.clone()).await
    };
    let sequencing = async {
        let _stop = stop_serving.clone().drop_guard();
        arbitration.run().await
    };
    let (served, sequenced) = tokio::join!(serving, sequencing);
    sequenced?;
    Ok(served?)
}

/// What this is, for whoever calls it.
fn description() -> Description {
    let package = packages::ARBITER;
    Description::new(services::ARBITER, of_package(env!("CARGO_PKG_VERSION")))
        .serving(package.name, package.version)
}

/// The lead of a store, and what it knows.
struct Taken {
    start: Start,
    lease: Lease,
    /// The oldest revision after which the log is whole.
    log_mark: Revision,
    recovered: Recovered,
    copies: Arc<Copies>,
}

/// Everything behind the server.
struct Arbitration {
    config: Config,
    environment: Environment,
    health: Health,
    concerns: Concerns,
    draining: CancellationToken,
    core: CoreSlot,
    stop: CancellationToken,
}

impl Arbitration {
    /// Tells what is unsafe about the store, where that was allowed.
    async fn tell_of_store(&self) {
        let (url, options) = (&self.config.database_url, self.config.database.postgres());
        for Unsafe { message, advice } in database::unsafe_settings(url, &options).await {
            self.concerns.raise(Concern { reason: Unsafe::REASON.to_owned(), message, advice });
        }
    }

    /// Opens the store, leads it, and runs the sequencer until the server has drained.
    async fn run(self) -> Result<(), RunError> {
        let opened = tokio::select! {
            opened = open_with_retry(self.config.database.retry(), || self.open()) => opened?,
            () = self.draining.cancelled() => return Ok(()),
            () = self.stop.cancelled() => return Ok(()),
        };
        self.tell_of_store().await;
        let leader_id = self.leader_id();
        let taken = tokio::select! {
            taken = self.take(&opened, leader_id) => taken,
            () = self.draining.cancelled() => return Ok(()),
            () = self.stop.cancelled() => return Ok(()),
        };
        let Taken { start, lease, log_mark, recovered, copies } = taken?;
        let lease = Arc::new(lease);
        let head = start.head;
        tracing::info!(store_id = %head.store_id, epoch = head.epoch, revision = head.revision, "leading");
        let hub = Arc::new(Hub::new(head.revision, self.config.watch_buffer_bytes as usize));
        hub.raise_mark(log_mark);
        let cache = Arc::new(Cache::new(head.revision, start.stocks.clone(), self.config.cache_bytes));
        let digests = Arc::new(LiveDigests::new(recovered, self.config.digest_checkpoint_changes));
        hub.keep_after(digests.checkpoint_revision());
        let lead = Lead {
            store: Arc::clone(&opened),
            leader_id,
            start,
            cache: Arc::clone(&cache),
            hub: Arc::clone(&hub),
            digests: Arc::clone(&digests),
        };
        let (sequencer, handle) =
            Sequencer::new(lead, self.environment.clone(), self.config.sequencer_limits());
        let watches = self.watches(&opened, &hub, &digests);
        let clock = Arc::clone(&self.environment.clock);
        let log_trimmer = LogTrimmer::new(&watches, leader_id, clock, self.config.trim_limits());
        let identity = Token { store_id: head.store_id, incarnation: head.incarnation, revision: 0 };
        let core = Core {
            sequencer: handle,
            store: Arc::clone(&opened),
            cache,
            hub,
            digests,
            copies,
            lease: Arc::clone(&lease),
            watches,
            imports: Imports::new(self.config.import_limits(), self.draining.clone()),
            rules: self.config.rules(),
            identity,
            scope: identity.scope().into(),
        };
        let (copies, hub) = (Arc::clone(&core.copies), Arc::clone(&core.hub));
        // The slot is set once, here.
        let _ = self.core.set(core);

        let reachable = sequencer.store_reachable();
        let health = report_health(self.health.clone(), reachable);
        let mut sequencing = Box::pin(sequencer.run(self.stop.clone()));
        let ended = tokio::select! {
            sequenced = &mut sequencing => sequenced.map_err(RunError::from),
            lost = keep_lease(&lease, &opened, leader_id) => Err(self.settle_last(sequencing, lost).await),
            () = health => Ok(()),
            never = log_trimmer.run() => match never {},
            never = keep_copies(&copies, &hub, &*opened, leader_id) => match never {},
        };
        self.health.set_serving(false);
        if ended.is_ok() {
            end_in_order(&*opened, &copies, leader_id).await;
        }
        opened.close().await;
        ended
    }

    /// Lets those that wait hear what became of theirs, where nothing more can be begun.
    async fn settle_last<S>(&self, sequencing: S, lost: RunError) -> RunError
    where
        S: Future<Output = Result<(), SequencerError>>,
    {
        self.health.set_serving(false);
        self.stop.cancel();
        if timeout(self.config.settle_patience(), sequencing).await.is_err() {
            tracing::warn!("the store does not say what became of the last writes");
        }
        lost
    }

    fn watches(&self, store: &SharedStore, hub: &Arc<Hub>, digests: &Arc<LiveDigests>) -> Watches {
        let (store, hub, digests) = (Arc::clone(store), Arc::clone(hub), Arc::clone(digests));
        Watches::new(store, hub, digests, self.config.watch_limits(), self.draining.clone())
    }

    async fn open(&self) -> Result<SharedStore, database::OpenError> {
        store::open(&self.config.database_url, &self.config.database, self.config.store_options()).await
    }

    async fn take(&self, store: &SharedStore, leader_id: Uuid) -> Result<Taken, RunError> {
        let options = TakeOptions {
            leader_id,
            lease: Duration::from_millis(self.config.lease_ms),
            take_over: self.config.take_over,
            restored: self.config.restored,
        };
        let Leading { head, lease } = take(&**store, &self.environment.clock, &options).await?;
        let start = Start::read(&**store, head).await.map_err(TakeError::from)?;
        let log_mark = store.log_mark().await.map_err(TakeError::from)?;
        let recovered = digests::recover(&**store, head.revision).await.map_err(TakeError::from)?;
        let remembered = store.copies(self.config.copies_max).await.map_err(TakeError::from)?;
        let clock = Arc::clone(&self.environment.clock);
        let copies = Copies::new(remembered, head.revision, self.config.copy_limits(), clock);
        Ok(Taken { start, lease, log_mark, recovered, copies: Arc::new(copies) })
    }

    fn leader_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.environment.random.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Leaves the store as the next process likes to find it. What cannot be left so costs it time alone.
async fn end_in_order(store: &dyn Store, copies: &Copies, leader_id: Uuid) {
    if let Err(error) = copies.write(store, leader_id).await {
        tracing::warn!(%error, "what copies reported last could not be stored");
    }
    if let Some(leases) = store.leases()
        && let Err(error) = leases.release(leader_id).await
    {
        tracing::warn!(%error, "the lease could not be given back; the next arbiter waits it out");
    }
}

/// Renews the lease until another process has it.
async fn keep_lease(lease: &Lease, store: &SharedStore, leader_id: Uuid) -> RunError {
    let Some(leases) = store.leases() else { return std::future::pending().await };
    match keep(lease, leases, leader_id).await {
        Ok(never) => match never {},
        Err(lost) => RunError::Lead(lost.to_string()),
    }
}

/// Says SERVING while the store answers. Never ends.
async fn report_health(health: Health, mut reachable: tokio::sync::watch::Receiver<bool>) {
    loop {
        health.set_serving(*reachable.borrow_and_update());
        if reachable.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
