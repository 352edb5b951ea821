//! An arbiter for tests: the sequencer on a store, and the service on top of it.

pub(super) use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use gameshelf::tokens::Token;
use mesh::environment::{Clock, Environment};
pub(super) use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

pub(super) use super::super::{
    Answer, Lead, Sequencer, SequencerError, SequencerHandle, SequencerLimits, Start, Submission, SubmitError,
};
use crate::cache::Cache;
use crate::copies::{Copies, CopyLimits};
use crate::digests::LiveDigests;
pub(super) use crate::domain::OnNothingToDo::{self, Refuse, Skip};
pub(super) use crate::domain::{
    Cause, Command, Key, Operation, Outcome, Precondition, Reason, RefusalKind, RequestId, Rules,
    StockAmount, Verdict,
};
use crate::grpc::{ArbiterGrpc, Core, CoreSlot, ImportLimits, Imports, RequestLimits};
use crate::leadership::Lease;
pub(super) use crate::store::SharedStore;
pub(super) use crate::store::faulty::{Fault, FaultyStore, ReadFault};
pub(super) use crate::store::testing::{TestStore, on_both_stores};
use crate::watch::{Hub, WatchLimits, Watches};

pub(super) const LIMITS: SequencerLimits = SequencerLimits {
    queue_requests: 1_000,
    queue_bytes: 1 << 20,
    batch_requests: 100,
    batch_bytes: 1 << 20,
    settle_timeout_ms: 60_000,
    settle_pause_ms: 1,
    // The tests' ids are of 1970.
    request_retention_ms: u64::MAX,
    trim_interval_ms: 1_000_000,
    rules: Rules { reservations_per_customer: 2, limited_editions: 2 },
};

pub(super) const REQUEST_LIMITS: RequestLimits = RequestLimits {
    changes_per_request: 1_000,
    pairs_per_check: 1_000,
    page_size_default: 100,
    page_size_max: 1_000,
    reservation_hold_max_ms: 86_400_000,
    filter_items: 10,
    poll_wait_max_ms: 1_000,
};

const WATCH_LIMITS: WatchLimits = WatchLimits {
    watchers: 10,
    message_bytes: 1 << 20,
    snapshot_chunk: 100,
    log_cache_bytes: 1 << 20,
    snapshot_hold_max_ms: 60_000,
    slow_reader_timeout_ms: 60_000,
    bookmark_interval_ms: 20,
};

pub(super) const IMPORT_LIMITS: ImportLimits = ImportLimits { streams: 2, in_flight: 3 };

pub(super) const COPY_LIMITS: CopyLimits =
    CopyLimits { copies: 3, forget_after_ms: 60_000, interval_ms: 1_000 };

/// So few that histories of tests pass many checkpoints.
pub(super) const CHECKPOINT_CHANGES: u64 = 5;

/// A clock that stands until it is set.
#[derive(Debug)]
pub(super) struct TestClock(AtomicU64);

impl TestClock {
    /// Some time in 2027.
    pub(super) const START_MS: u64 = 1_800_000_000_000;

    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(Self::START_MS)))
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    pub(super) fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms())
    }
}

/// How an arbiter is set up.
pub(super) struct Setup {
    pub(super) limits: SequencerLimits,
    pub(super) environment: Environment,
    pub(super) cache_bytes: u64,
    /// How long its lease lasts from its start on; nobody renews it. None where it has the store for itself.
    pub(super) lease: Option<Duration>,
}

impl Setup {
    pub(super) fn with_clock(clock: &Arc<TestClock>) -> Self {
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        Self { environment: Environment { clock, ..Environment::system() }, ..Self::default() }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self { limits: LIMITS, environment: Environment::system(), cache_bytes: 1 << 20, lease: None }
    }
}

/// A running arbiter.
pub(super) struct Running {
    pub(super) leader_id: Uuid,
    pub(super) handle: SequencerHandle,
    pub(super) hub: Arc<Hub>,
    pub(super) digests: Arc<LiveDigests>,
    pub(super) copies: Arc<Copies>,
    pub(super) watches: Watches,
    /// The service as its callers see it, without a network.
    pub(super) service: ArbiterGrpc,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<Result<(), SequencerError>>,
}

/// Starts a sequencer as a new process would.
pub(super) async fn start(store: &SharedStore) -> Running {
    start_with(store, Setup::default()).await
}

pub(super) async fn start_with(store: &SharedStore, setup: Setup) -> Running {
    let Setup { limits, environment, cache_bytes, lease } = setup;
    let leader_id = Uuid::now_v7();
    let head = store.lead(leader_id, true).await.unwrap().unwrap();
    let start = Start::read(&**store, head).await.unwrap();
    let hub = Arc::new(Hub::new(head.revision, 1 << 20));
    let cache = Arc::new(Cache::new(head.revision, start.stocks.clone(), cache_bytes));
    let recovered = crate::digests::recover(&**store, head.revision).await.unwrap();
    let digests = Arc::new(LiveDigests::new(recovered, CHECKPOINT_CHANGES));
    let lead = Lead {
        store: Arc::clone(store),
        leader_id,
        start,
        cache: Arc::clone(&cache),
        hub: Arc::clone(&hub),
        digests: Arc::clone(&digests),
    };
    let (sequencer, handle) = Sequencer::new(lead, environment.clone(), limits);
    let stop = CancellationToken::new();
    let watches =
        Watches::new(Arc::clone(store), Arc::clone(&hub), Arc::clone(&digests), WATCH_LIMITS, stop.clone());
    let remembered = store.copies(u32::MAX).await.unwrap();
    let clock = Arc::clone(&environment.clock);
    let lease = match lease {
        Some(duration) => Lease::held(Arc::clone(&clock), duration, clock.since_boot()),
        None => Lease::exclusive(Arc::clone(&clock)),
    };
    let copies = Arc::new(Copies::new(remembered, head.revision, COPY_LIMITS, clock));
    let identity = Token { store_id: head.store_id, incarnation: head.incarnation, revision: 0 };
    let core = Core {
        sequencer: handle.clone(),
        store: Arc::clone(store),
        cache,
        hub: Arc::clone(&hub),
        digests: Arc::clone(&digests),
        copies: Arc::clone(&copies),
        lease: Arc::new(lease),
        watches: watches.clone(),
        imports: Imports::new(IMPORT_LIMITS, stop.clone()),
        rules: limits.rules,
        identity,
        scope: identity.scope().into(),
    };
    let slot = CoreSlot::new(OnceLock::from(core));
    let service = ArbiterGrpc::new(slot, REQUEST_LIMITS);
    let task = tokio::spawn(sequencer.run(stop.clone()));
    Running { leader_id, handle, hub, digests, copies, watches, service, stop, task }
}

impl Running {
    pub(super) async fn stop(self) -> Result<(), SequencerError> {
        self.stop.cancel();
        self.task.await.expect("the sequencer does not panic")
    }

    pub(super) fn submit(
        &self,
        request_id: RequestId,
        command: Command,
    ) -> JoinHandle<Result<Answer, SubmitError>> {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.submit(submission(request_id, command)).await })
    }

    pub(super) async fn ask(&self, request_id: RequestId, command: Command) -> Result<Answer, SubmitError> {
        self.submit(request_id, command).await.expect("a request does not panic")
    }

    /// Asks all at once: they are queued in this order before any of them is decided, and share a batch.
    pub(super) async fn ask_together(
        &self,
        requests: Vec<(RequestId, Command)>,
    ) -> Vec<Result<Answer, SubmitError>> {
        let asked = requests.into_iter();
        let asked = asked.map(|(id, command)| self.handle.submit(submission(id, command)));
        // The first poll of each puts it into the queue, and nothing else runs between two of them.
        futures_util::future::join_all(asked).await
    }
}

/// A store that goes wrong when it is told to, and the same as what a sequencer takes.
pub(super) fn faulty(test: &TestStore, faults: &[Fault]) -> (Arc<FaultyStore>, SharedStore) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), faults));
    (Arc::clone(&store), store)
}

pub(super) fn submission(request_id: RequestId, command: Command) -> Submission {
    Submission { request_id, command: Arc::new(command), span: Span::none() }
}

pub(super) fn cause() -> Arc<Cause> {
    Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() })
}

pub(super) fn key(customer_id: &str, game_id: &str) -> Key {
    (customer_id.parse().unwrap(), game_id.parse().unwrap())
}

pub(super) fn command(operations: Vec<Operation>) -> Command {
    Command { preconditions: Vec::new(), operations, cause: cause() }
}

pub(super) fn grant(customer_id: &str, games: &[&str], on_owned: OnNothingToDo) -> Command {
    let operation =
        |game: &&str| Operation::Grant { key: key(customer_id, game), on_owned, ends_at_ms: None };
    command(games.iter().map(operation).collect())
}

pub(super) fn grant_until(customer_id: &str, game_id: &str, ends_at_ms: u64) -> Command {
    let (key, ends_at_ms) = (key(customer_id, game_id), Some(ends_at_ms));
    command(vec![Operation::Grant { key, on_owned: Refuse, ends_at_ms }])
}

pub(super) fn revoke(customer_id: &str, games: &[&str], on_not_owned: OnNothingToDo) -> Command {
    let operation = |game: &&str| Operation::Revoke { key: key(customer_id, game), on_not_owned };
    command(games.iter().map(operation).collect())
}

pub(super) fn reserve(customer_id: &str, game_id: &str, hold_ms: u64) -> Command {
    command(vec![Operation::Reserve { key: key(customer_id, game_id), hold_ms }])
}

pub(super) fn set_stock(game_id: &str, total: u64) -> Command {
    let (game_id, amount) = (game_id.parse().unwrap(), StockAmount::Total(total));
    command(vec![Operation::SetStock { game_id, amount }])
}

/// A version 7 id of 1970.
pub(super) fn id(number: u64) -> RequestId {
    RequestId::new_v7(number, [3; 10])
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what a request returns")]
pub(super) fn accepted(revision: u64, changed: &[bool], replayed: bool) -> Result<Answer, SubmitError> {
    let verdict = Verdict::Accepted { changed: changed.to_vec(), expires_at_ms: None };
    Ok(Answer { outcome: Outcome { revision, verdict }, replayed })
}

/// Waits for something that is to become true.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("it becomes true");
}
