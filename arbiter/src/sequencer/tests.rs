//! What the sequencer promises, on both stores, and what it does when a store goes wrong.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mesh::environment::{Environment, Random, SystemRandom};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use super::{
    Answer, Lead, Sequencer, SequencerError, SequencerHandle, SequencerLimits, Start, Submission, SubmitError,
};
use crate::cache::Cache;
use crate::domain::OnNothingToDo::{self, Refuse, Skip};
use crate::domain::{Cause, Command, Operation, Outcome, Reason, RefusalKind, RequestId, Rules, Verdict};
use crate::store::SharedStore;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::testing::{TestStore, on_both_stores};
use crate::watch::Hub;

on_both_stores!(
    revisions_have_no_gaps_whatever_races,
    a_repeat_returns_the_original_outcome_after_a_restart,
    a_refusal_is_remembered,
    twice_in_one_batch_is_one_effect,
    other_content_under_a_request_id_is_refused,
    a_request_that_changes_nothing_takes_no_revision,
    an_answer_comes_only_after_the_commit,
    what_waits_together_is_committed_together,
    one_bad_request_does_not_poison_its_batch,
    one_bad_request_does_not_poison_a_batch_that_is_settled,
    a_lost_answer_is_settled_with_one_effect,
    an_unreachable_store_is_told_and_recovers,
    whoever_is_taken_over_commits_nothing_more,
    whoever_is_taken_over_does_not_settle_by_leading_again,
    random_histories_agree_with_a_model,
);

const LIMITS: SequencerLimits = SequencerLimits {
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

struct Running {
    handle: SequencerHandle,
    hub: Arc<Hub>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SequencerError>>,
}

/// Starts a sequencer as a new process would.
async fn start(store: &SharedStore) -> Running {
    start_with(store, LIMITS).await
}

async fn start_with(store: &SharedStore, limits: SequencerLimits) -> Running {
    let leader_id = Uuid::now_v7();
    let head = store.lead(leader_id, true).await.unwrap().unwrap();
    let start = Start::read(&**store, head).await.unwrap();
    let hub = Arc::new(Hub::new(head.revision, 1 << 20));
    let cache = Arc::new(Cache::new(head.revision, start.stocks.clone(), 1 << 20));
    let lead = Lead { store: Arc::clone(store), leader_id, start, cache, hub: Arc::clone(&hub) };
    let (sequencer, handle) = Sequencer::new(lead, Environment::system(), limits);
    let stop = CancellationToken::new();
    let task = tokio::spawn(sequencer.run(stop.clone()));
    Running { handle, hub, stop, task }
}

impl Running {
    async fn stop(self) -> Result<(), SequencerError> {
        self.stop.cancel();
        self.task.await.expect("the sequencer does not panic")
    }

    fn submit(&self, request_id: RequestId, command: Command) -> JoinHandle<Result<Answer, SubmitError>> {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.submit(submission(request_id, command)).await })
    }

    async fn ask(&self, request_id: RequestId, command: Command) -> Result<Answer, SubmitError> {
        self.submit(request_id, command).await.expect("a request does not panic")
    }
}

fn submission(request_id: RequestId, command: Command) -> Submission {
    Submission { request_id, command: Arc::new(command), span: Span::none() }
}

fn cause() -> Arc<Cause> {
    Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() })
}

fn command(operations: Vec<Operation>) -> Command {
    Command { preconditions: Vec::new(), operations, cause: cause() }
}

fn grant(customer_id: &str, games: &[&str], on_owned: OnNothingToDo) -> Command {
    let operation = |game: &&str| {
        let key = (customer_id.parse().unwrap(), game.parse().unwrap());
        Operation::Grant { key, on_owned, ends_at_ms: None }
    };
    command(games.iter().map(operation).collect())
}

fn revoke(customer_id: &str, games: &[&str], on_not_owned: OnNothingToDo) -> Command {
    let operation = |game: &&str| {
        let key = (customer_id.parse().unwrap(), game.parse().unwrap());
        Operation::Revoke { key, on_not_owned }
    };
    command(games.iter().map(operation).collect())
}

fn id(number: u64) -> RequestId {
    RequestId::new_v7(number, [3; 10])
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what a request returns")]
fn accepted(revision: u64, changed: &[bool], replayed: bool) -> Result<Answer, SubmitError> {
    let verdict = Verdict::Accepted { changed: changed.to_vec(), expires_at_ms: None };
    Ok(Answer { outcome: Outcome { revision, verdict }, replayed })
}

async fn revisions_have_no_gaps_whatever_races(test: TestStore) {
    let running = start(&test.store).await;
    let requests: Vec<_> = (0..300)
        .map(|number| {
            running.submit(id(number), grant(&format!("c{}", number % 7), &[&format!("g{number}")], Refuse))
        })
        .collect();
    let mut revisions = BTreeSet::new();
    for request in requests {
        revisions.insert(request.await.unwrap().unwrap().outcome.revision);
    }
    assert_eq!(revisions, (1..=300).collect());
    assert_eq!(running.hub.head(), 300);
    let log = test.store.log(0, 1_000).await.unwrap();
    assert!(log.iter().map(|commit| commit.revision).eq(1..=300));
    running.stop().await.unwrap();
}

async fn a_repeat_returns_the_original_outcome_after_a_restart(mut test: TestStore) {
    let running = start(&test.store).await;
    let command = grant("c", &["g", "h"], Refuse);
    assert_eq!(running.ask(id(1), command.clone()).await, accepted(1, &[true, true], false));
    assert_eq!(running.ask(id(2), grant("d", &["g"], Refuse)).await, accepted(2, &[true], false));
    assert_eq!(running.ask(id(1), command.clone()).await, accepted(1, &[true, true], true));
    running.stop().await.unwrap();
    test.reopen().await;
    let running = start(&test.store).await;
    assert_eq!(running.ask(id(1), command).await, accepted(1, &[true, true], true));
    assert_eq!(running.hub.head(), 2, "a repeat commits nothing");
    running.stop().await.unwrap();
}

async fn a_refusal_is_remembered(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    let again = grant("c", &["f", "g"], Refuse);
    let verdict = Verdict::Refused { items: vec![(1, RefusalKind::AlreadyOwned)] };
    let refused =
        |replayed| Ok(Answer { outcome: Outcome { revision: 1, verdict: verdict.clone() }, replayed });
    assert_eq!(running.ask(id(2), again.clone()).await, refused(false));
    running.ask(id(3), revoke("c", &["g"], Refuse)).await.unwrap();
    // It would be accepted now, but the same request has the same outcome for ever.
    assert_eq!(running.ask(id(2), again).await, refused(true));
    running.stop().await.unwrap();
}

async fn twice_in_one_batch_is_one_effect(test: TestStore) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let first = running.submit(id(9), grant("x", &["g"], Refuse));
    store.commit_is_held().await;
    // These wait behind the commit that is held, so they share the next batch.
    let command = grant("c", &["g"], Refuse);
    let twice = [running.submit(id(1), command.clone()), running.submit(id(1), command)];
    while running.handle.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    store.release_commit();
    store.release_commit();
    first.await.unwrap().unwrap();
    let mut replayed = Vec::new();
    for request in twice {
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.outcome.revision, 2);
        replayed.push(answer.replayed);
    }
    replayed.sort_unstable();
    assert_eq!((replayed, store.commits()), (vec![false, true], 2));
    running.stop().await.unwrap();
}

async fn other_content_under_a_request_id_is_refused(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    let other = running.ask(id(1), grant("c", &["h"], Refuse)).await;
    assert_eq!(other, Err(SubmitError::RequestIdReused));
    assert_eq!(running.hub.head(), 1, "it changed nothing");
    running.stop().await.unwrap();
}

async fn a_request_that_changes_nothing_takes_no_revision(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    let skipped = running.ask(id(2), grant("c", &["g"], Skip)).await;
    assert_eq!(skipped, accepted(1, &[false], false));
    assert_eq!(running.ask(id(3), grant("c", &["g", "h"], Skip)).await, accepted(2, &[false, true], false));
    running.stop().await.unwrap();
}

async fn an_answer_comes_only_after_the_commit(test: TestStore) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let request = running.submit(id(1), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished(), "nothing is answered before COMMIT");
    assert_eq!(running.hub.head(), 0, "nothing is shown before COMMIT");
    store.release_commit();
    assert_eq!(request.await.unwrap(), accepted(1, &[true], false));
    running.stop().await.unwrap();
}

async fn what_waits_together_is_committed_together(test: TestStore) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let first = running.submit(id(1), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let rest: Vec<_> = (2..=60)
        .map(|number| running.submit(id(number), grant(&format!("c{number}"), &["g"], Refuse)))
        .collect();
    while running.handle.waiting() < rest.len() {
        tokio::task::yield_now().await;
    }
    store.release_commit();
    store.release_commit();
    first.await.unwrap().unwrap();
    for request in rest {
        request.await.unwrap().unwrap();
    }
    assert_eq!(store.commits(), 2, "59 requests waited for one commit, and shared the next");
    running.stop().await.unwrap();
}

async fn one_bad_request_does_not_poison_its_batch(test: TestStore) {
    let faults = [Fault::RefusedTogether; 2];
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &faults));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let first = running.submit(id(1), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let rest: Vec<_> = (2..=4)
        .map(|number| running.submit(id(number), grant(&format!("c{number}"), &["g"], Refuse)))
        .collect();
    while running.handle.waiting() < rest.len() {
        tokio::task::yield_now().await;
    }
    (0..5).for_each(|_| store.release_commit());
    first.await.unwrap().unwrap();
    for request in rest {
        assert!(request.await.unwrap().is_ok());
    }
    assert_eq!(running.hub.head(), 4);
    running.stop().await.unwrap();
}

async fn one_bad_request_does_not_poison_a_batch_that_is_settled(test: TestStore) {
    // The first commit is the one that is held.
    let faults = [Fault::RefusedTogether, Fault::LostBefore, Fault::RefusedTogether];
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &faults));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let first = running.submit(id(1), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let rest: Vec<_> = (2..=4)
        .map(|number| running.submit(id(number), grant(&format!("c{number}"), &["g"], Refuse)))
        .collect();
    while running.handle.waiting() < rest.len() {
        tokio::task::yield_now().await;
    }
    (0..6).for_each(|_| store.release_commit());
    first.await.unwrap().unwrap();
    for request in rest {
        assert!(request.await.unwrap().is_ok());
    }
    assert_eq!(running.hub.head(), 4);
    running.stop().await.unwrap();
}

async fn a_lost_answer_is_settled_with_one_effect(test: TestStore) {
    let faults = [Fault::LostAfter, Fault::LostBefore, Fault::LostBefore, Fault::LostAfter];
    let store: SharedStore = Arc::new(FaultyStore::new(Arc::clone(&test.store), &faults));
    let running = start(&store).await;
    // Applied, then lost: the truth is found by its request id, and it is not called a repeat.
    assert_eq!(running.ask(id(1), grant("c", &["g"], Refuse)).await, accepted(1, &[true], false));
    // Lost before it was applied, twice, then applied and lost.
    assert_eq!(running.ask(id(2), grant("c", &["h"], Refuse)).await, accepted(2, &[true], false));
    assert_eq!(running.ask(id(3), grant("c", &["i"], Refuse)).await, accepted(3, &[true], false));
    let log = test.store.log(0, 100).await.unwrap();
    assert!(log.iter().map(|commit| commit.revision).eq(1..=3), "each has one effect");
    running.stop().await.unwrap();
}

async fn an_unreachable_store_is_told_and_recovers(test: TestStore) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.set_unreachable(true);
    let shared: SharedStore = store.clone();
    let running = start_with(&shared, SequencerLimits { settle_timeout_ms: 20, ..LIMITS }).await;
    let refused = running.ask(id(1), grant("c", &["g"], Refuse)).await;
    assert_eq!(refused, Err(SubmitError::StoreUnavailable), "nothing was written, and that is said");
    store.set_unreachable(false);
    assert_eq!(running.ask(id(1), grant("c", &["g"], Refuse)).await, accepted(1, &[true], false));
    running.stop().await.unwrap();
}

async fn whoever_is_taken_over_commits_nothing_more(test: TestStore) {
    let first = start(&test.store).await;
    first.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    let second = start(&test.store).await;
    second.ask(id(2), grant("c", &["h"], Refuse)).await.unwrap();
    assert_eq!(first.ask(id(3), grant("c", &["i"], Refuse)).await, Err(SubmitError::NotLeader));
    assert_eq!(first.task.await.unwrap(), Err(SequencerError::Fenced), "it ends by itself");
    assert_eq!(second.ask(id(3), grant("c", &["i"], Refuse)).await, accepted(3, &[true], false));
    second.stop().await.unwrap();
}

async fn whoever_is_taken_over_does_not_settle_by_leading_again(test: TestStore) {
    let store: SharedStore = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[Fault::LostBefore]));
    let first = start(&store).await;
    let second = start(&test.store).await;
    // The first cannot know what became of its COMMIT, and must not take the lead back to find out.
    assert_eq!(first.ask(id(1), grant("c", &["g"], Refuse)).await, Err(SubmitError::OutcomeUnknown));
    assert_eq!(first.task.await.unwrap(), Err(SequencerError::Fenced));
    assert_eq!(second.ask(id(1), grant("c", &["g"], Refuse)).await, accepted(1, &[true], false));
    second.stop().await.unwrap();
}

/// A map and a counter: what the arbiter is, without disk, batches or clients.
#[derive(Default)]
struct Model {
    owned: HashMap<(String, String), u64>,
    revision: u64,
    outcomes: HashMap<RequestId, Outcome>,
}

impl Model {
    fn apply(
        &mut self,
        request_id: RequestId,
        granting: bool,
        customer: &str,
        games: &[&str],
        skip: bool,
    ) -> Answer {
        if let Some(outcome) = self.outcomes.get(&request_id) {
            return Answer { outcome: outcome.clone(), replayed: true };
        }
        let key = |game: &str| (customer.to_owned(), game.to_owned());
        let changed: Vec<bool> =
            games.iter().map(|game| self.owned.contains_key(&key(game)) != granting).collect();
        let kind = if granting { RefusalKind::AlreadyOwned } else { RefusalKind::NotOwned };
        let verdict = if changed.contains(&false) && !skip {
            let items = (0..).zip(&changed).filter(|(_, changed)| !**changed).map(|(item, _)| (item, kind));
            Verdict::Refused { items: items.collect() }
        } else {
            self.revision += u64::from(changed.contains(&true));
            for (game, _) in games.iter().zip(&changed).filter(|(_, changed)| **changed) {
                if granting {
                    self.owned.insert(key(game), self.revision);
                } else {
                    self.owned.remove(&key(game));
                }
            }
            Verdict::Accepted { changed, expires_at_ms: None }
        };
        let outcome = Outcome { revision: self.revision, verdict };
        self.outcomes.insert(request_id, outcome.clone());
        Answer { outcome, replayed: false }
    }
}

async fn random_histories_agree_with_a_model(mut test: TestStore) {
    let random = |bound| SystemRandom.below(bound);
    let games = ["a", "b", "c", "d"];
    let mut model = Model::default();
    let mut running = start(&test.store).await;
    for step in 0..200 {
        let customer = format!("c{}", random(3));
        let first = usize::try_from(random(4)).unwrap();
        let chosen: Vec<&str> = games.iter().cycle().skip(first).take(1 + first % 3).copied().collect();
        let (granting, skip) = (random(2) == 0, random(2) == 0);
        let command = match (granting, skip) {
            (true, true) => grant(&customer, &chosen, Skip),
            (true, false) => grant(&customer, &chosen, Refuse),
            (false, true) => revoke(&customer, &chosen, Skip),
            (false, false) => revoke(&customer, &chosen, Refuse),
        };
        let expected = model.apply(id(step), granting, &customer, &chosen, skip);
        assert_eq!(running.ask(id(step), command.clone()).await, Ok(expected), "step {step}: {command:?}");
        if random(10) == 0 {
            let repeated = model.apply(id(step), granting, &customer, &chosen, skip);
            assert_eq!(running.ask(id(step), command).await, Ok(repeated));
        }
        if random(40) == 0 {
            running.stop().await.unwrap();
            test.reopen().await;
            running = start(&test.store).await;
        }
    }
    let stored = test.store.snapshot(model.revision, None, 1_000).await.unwrap();
    let stored: HashMap<_, _> = stored
        .iter()
        .map(|one| ((one.customer_id.to_string(), one.game_id.to_string()), one.valid_from))
        .collect();
    assert_eq!(stored, model.owned);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let test = TestStore::sqlite().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let first = running.submit(id(0), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let waiting: Vec<_> = (1..=1_000)
        .map(|number| running.submit(id(number), grant(&format!("c{number}"), &["g"], Refuse)))
        .collect();
    while running.handle.waiting() < LIMITS.queue_requests {
        tokio::task::yield_now().await;
    }
    let refused = running.ask(id(2_000), grant("late", &["g"], Refuse)).await;
    assert_eq!(refused, Err(SubmitError::QueueFull { limit_requests: 1_000 }));
    (0..50).for_each(|_| store.release_commit());
    first.await.unwrap().unwrap();
    for request in waiting {
        request.await.unwrap().unwrap();
    }
    assert_eq!(running.hub.head(), 1_001, "what was queued is committed, what was refused is not");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_queue_is_bounded_by_bytes_too() {
    let test = TestStore::sqlite().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let _first = running.submit(id(0), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let games: Vec<String> = (0..5_000).map(|number| format!("{}-{number}", "x".repeat(100))).collect();
    let games: Vec<&str> = games.iter().map(String::as_str).collect();
    let large = running.submit(id(1), grant("c", &games, Refuse));
    while running.handle.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    let refused = running.ask(id(2), grant("c", &games, Refuse)).await;
    assert_eq!(refused, Err(SubmitError::QueueFullBytes { limit_bytes: 1 << 20 }));
    (0..5).for_each(|_| store.release_commit());
    large.await.unwrap().unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_queued_at_the_end_is_committed() {
    let test = TestStore::sqlite().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    store.hold_commits();
    let shared: SharedStore = store.clone();
    let running = start(&shared).await;
    let first = running.submit(id(1), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let queued = running.submit(id(2), grant("d", &["g"], Refuse));
    while running.handle.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    let handle = running.handle.clone();
    running.stop.cancel();
    (0..2).for_each(|_| store.release_commit());
    assert!(first.await.unwrap().is_ok());
    assert!(queued.await.unwrap().is_ok());
    running.task.await.unwrap().unwrap();
    let late = submission(id(3), grant("e", &["g"], Refuse));
    assert_eq!(handle.submit(late).await, Err(SubmitError::Stopped));
}
