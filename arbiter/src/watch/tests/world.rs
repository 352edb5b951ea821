//! A store that commits and publishes as the sequencer does, and remembers what it committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh::environment::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::{Filter, Hub, LogTrimmer, TrimLimits, WatchLimits, Watches};
use crate::digests::LiveDigests;
use crate::domain::{
    Cause, Command, Commit, Effects, Entitlement, Key, Moment, OnNothingToDo, Operation, Reason, RequestId,
    Revision, Rules, State, Verdict, decide,
};
use crate::store::testing::TestStore;
use crate::store::{Batch, Head};

const RULES: Rules = Rules { reservations_per_customer: 1, limited_editions: 1 };
/// Customers and games that there are.
pub(super) const CUSTOMERS: u64 = 7;
pub(super) const GAMES: u64 = 5;

/// The time is the number of the newest commit.
#[derive(Debug)]
struct CommitClock(Arc<Hub>);

impl Clock for CommitClock {
    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.head())
    }
}

pub(super) struct World {
    pub(super) test: TestStore,
    pub(super) leader_id: Uuid,
    pub(super) head: Head,
    pub(super) hub: Arc<Hub>,
    pub(super) watches: Watches,
    pub(super) draining: CancellationToken,
    pub(super) limits: WatchLimits,
    memory_bytes: usize,
    /// Every commit, in order.
    pub(super) history: Vec<Arc<Commit>>,
    owned: BTreeMap<Key, Arc<Entitlement>>,
}

impl World {
    pub(super) async fn new(test: TestStore, memory_bytes: usize, limits: WatchLimits) -> Self {
        let (leader_id, head) = test.lead().await;
        let (hub, watches, draining) = open(&test, 0, memory_bytes, limits).await;
        let (history, owned) = (Vec::new(), BTreeMap::new());
        Self { test, leader_id, head, hub, watches, draining, limits, memory_bytes, history, owned }
    }

    /// As after a restart: what was in memory is gone.
    pub(super) async fn restart(&mut self) {
        self.draining.cancel();
        // The old parts hold the store, whose lock goes with its last owner.
        let other = TestStore::sqlite().await;
        (self.hub, self.watches, self.draining) = open(&other, 0, 0, self.limits).await;
        self.test.reopen().await;
        (self.leader_id, self.head) = self.test.lead().await;
        (self.hub, self.watches, self.draining) =
            open(&self.test, self.head.revision, self.memory_bytes, self.limits).await;
    }

    /// Commits one batch of commits that change these keys.
    pub(super) async fn commit(&mut self, commits: &[&[(u64, u64)]]) {
        let stocks = HashMap::new();
        let mut state = State::new(&stocks);
        let keys =
            commits.iter().flat_map(|changes| changes.iter()).map(|(customer, game)| key(*customer, *game));
        for key in keys {
            let entitlement = self.owned.get(&key).cloned();
            state.know(key, entitlement);
        }
        let mut owned: BTreeMap<Key, bool> = BTreeMap::new();
        let mut batch = Batch::default();
        for changes in commits {
            let revision = self.head.revision + 1 + batch.commits.len() as u64;
            let operations = changes.iter().map(|(customer, game)| {
                let key = key(*customer, *game);
                let was = owned.get(&key).copied().unwrap_or_else(|| self.owned.contains_key(&key));
                owned.insert(key.clone(), !was);
                if was {
                    Operation::Revoke { key, on_not_owned: OnNothingToDo::Refuse }
                } else {
                    Operation::Grant { key, on_owned: OnNothingToDo::Refuse, ends_at_ms: None }
                }
            });
            let cause =
                Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() });
            let (preconditions, operations) = (Vec::new(), operations.collect());
            let command = Command { preconditions, operations, cause };
            let moment = Moment { head: revision - 1, now_ms: revision };
            let request_id = RequestId::new_v7(revision, [1; 10]);
            let decision = decide(request_id, &command, &mut state, moment, &RULES);
            assert!(matches!(decision.verdict, Verdict::Accepted { .. }), "{decision:?}");
            let (cause, changes, traceparent) = (command.cause, decision.changes, String::new());
            let committed_at_ms = revision;
            batch.commits.push(Commit { revision, request_id, committed_at_ms, cause, changes, traceparent });
        }
        batch.effects = state.into_effects();
        self.write(batch).await;
    }

    async fn write(&mut self, batch: Batch) {
        self.test.store.commit(&self.head, &batch).await.unwrap();
        self.head.revision = batch.commits.last().map_or(self.head.revision, |commit| commit.revision);
        self.history.extend(batch.commits.iter().cloned().map(Arc::new));
        let Effects { inserted, replaced, removed, .. } = batch.effects;
        for key in removed {
            self.owned.remove(&key);
        }
        self.owned.extend(inserted.into_iter().chain(replaced).map(|one| (one.key(), one)));
        self.hub.publish(batch.commits);
    }

    /// Commits a batch by chance.
    pub(super) async fn commit_some(&mut self, random: &mut StdRng) {
        let mut commits = Vec::new();
        // Small batches and large ones.
        let most = [1, 3, 20][random.random_range(0..3)];
        for _ in 0..random.random_range(1..=most) {
            let mut changes = Vec::new();
            for _ in 0..random.random_range(1..=4) {
                let change = (random.random_range(0..CUSTOMERS), random.random_range(0..GAMES));
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
            commits.push(changes);
        }
        self.commit(&commits.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    }

    /// Trims the log down to about the newest commits.
    pub(super) async fn trim_to(&self, retention_commits: u64) {
        let limits =
            TrimLimits { retention_ms: retention_commits, retention_bytes: u64::MAX, interval_ms: 1 };
        self.trim(limits).await;
    }

    pub(super) async fn trim(&self, limits: TrimLimits) {
        let clock = Arc::new(CommitClock(Arc::clone(&self.hub)));
        LogTrimmer::new(&self.watches, self.leader_id, clock, limits).trim().await.unwrap();
    }

    /// What is owned at a revision, and since when, by what was committed.
    pub(super) fn owned_at(&self, at: Revision, filter: &Filter) -> BTreeMap<Key, Revision> {
        let mut owned = BTreeMap::new();
        for commit in self.history.iter().take_while(|commit| commit.revision <= at) {
            apply(&mut owned, commit);
        }
        owned.retain(|(customer_id, game_id), _| {
            filter_passes(filter, customer_id.as_str(), game_id.as_str())
        });
        owned
    }

    /// What a reader should be told of the commits after one revision and up to another.
    pub(super) fn expected(&self, after: Revision, to: Revision, filter: &Filter) -> Vec<Commit> {
        let between = self.history.iter().filter(|commit| after < commit.revision && commit.revision <= to);
        let narrowed = between.map(|commit| {
            let mut commit = (**commit).clone();
            commit.changes.retain(|change| {
                let customer_id = change.customer_id().expect("every change here has a customer");
                filter_passes(filter, customer_id.as_str(), change.game_id().as_str())
            });
            commit
        });
        narrowed.filter(|commit| !commit.changes.is_empty()).collect()
    }
}

/// What a filter means, written again.
fn filter_passes(filter: &Filter, customer_id: &str, game_id: &str) -> bool {
    let partition = gameshelf::digest::partition(customer_id);
    (filter.customers.is_empty() || filter.customers.iter().any(|one| one.as_str() == customer_id))
        && (filter.games.is_empty() || filter.games.iter().any(|one| one.as_str() == game_id))
        && (filter.partitions.is_empty() || filter.partitions.contains(&partition))
}

/// What a commit makes of what is owned.
pub(super) fn apply(owned: &mut BTreeMap<Key, Revision>, commit: &Commit) {
    for change in &commit.changes {
        let key = (change.customer_id().unwrap().clone(), change.game_id().clone());
        match change {
            crate::domain::Change::Granted { .. } => drop(owned.insert(key, commit.revision)),
            _ => drop(owned.remove(&key)),
        }
    }
}

pub(super) fn key(customer: u64, game: u64) -> Key {
    (format!("customer-{customer}").parse().unwrap(), format!("game-{game}").parse().unwrap())
}

async fn open(
    test: &TestStore,
    head: Revision,
    memory_bytes: usize,
    limits: WatchLimits,
) -> (Arc<Hub>, Watches, CancellationToken) {
    let hub = Arc::new(Hub::new(head, memory_bytes));
    hub.raise_mark(test.store.log_mark().await.unwrap());
    let draining = CancellationToken::new();
    let watches = Watches::new(
        Arc::clone(&test.store),
        Arc::clone(&hub),
        Arc::new(LiveDigests::default()),
        limits,
        draining.clone(),
    );
    (hub, watches, draining)
}

/// Chances that can be had again: a failure prints the seed.
pub(super) fn random() -> StdRng {
    let given = std::env::var("GAMESHELF_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| rand::rng().random());
    println!("GAMESHELF_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
