//! A COMMIT whose answer is lost is settled: callers get the truth, or UNAVAILABLE with the reason `OUTCOME_UNKNOWN`, and
//! then the same request id tells.
//!
//! A real PostgreSQL stands behind a proxy that cuts the connection when the arbiter commits. There is no COMMIT message to
//! wait for: the arbiter's whole transaction is one data-modifying statement, which the server commits by itself when
//! it gets the sync after it. So the proxy recognises that statement by its text when it is prepared, and cuts when it is
//! executed: before it reached the server, while the server is at it, after it was committed.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails the test, which is what it should do")]

mod arbiter;
mod protocol;
mod proxy;
mod takeover;

use std::collections::BTreeMap;
use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1::{Commit, GrantRequest, GrantResponse};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::arbiter::{Database, PAUSE, Running, grant};
use crate::proxy::{Aftermath, End, Fate, Proxy};

/// An arbiter that reaches its store by a way that can be cut.
struct Setup {
    database: Database,
    proxy: Proxy,
    arbiter: Running,
}

impl Setup {
    async fn new(options: &[&str]) -> Self {
        let database = Database::new().await;
        let proxy = Proxy::start(database.server());
        let arbiter = Running::serving(&database.url_by(proxy.address()), options).await;
        Self { database, proxy, arbiter }
    }

    /// Stops the arbiter, and returns what was committed.
    async fn committed(self) -> Vec<Commit> {
        self.arbiter.stop().await;
        self.database.committed().await
    }
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Granted {
        revision: u64,
    },
    AlreadyOwned,
    /// Nothing, as there was no room in the queue.
    QueueFull,
}

/// What an answer says, and whether it says that it is a repeat's.
fn outcome(answer: Result<GrantResponse, Status>) -> (Outcome, bool) {
    let status = match answer {
        Ok(granted) => return (Outcome::Granted { revision: granted.revision }, granted.replayed),
        Err(status) => status,
    };
    let replayed = metadata_of(&status, "replayed").as_deref() == Some("true");
    match reason_of(&status) {
        Some(Reason::AlreadyOwned) => (Outcome::AlreadyOwned, replayed),
        Some(Reason::QueueFull) => (Outcome::QueueFull, replayed),
        _ => panic!("neither done nor refused: {status:?}"),
    }
}

/// The log holds exactly these requests, one commit each, without gaps.
#[track_caller]
fn assert_committed(log: &[Commit], granted: &BTreeMap<u64, &GrantRequest>) {
    assert!(granted.keys().copied().eq(1..=granted.len() as u64), "revisions without gaps: {granted:?}");
    let logged: Vec<_> = log
        .iter()
        .flat_map(|commit| commit.changes.iter().map(move |change| (commit, change)))
        .map(|(commit, change)| {
            (commit.revision, &*commit.request_id, &*change.customer_id, &*change.game_id)
        })
        .collect();
    let answered: Vec<_> = granted
        .iter()
        .map(|(revision, request)| {
            (*revision, &*request.request_id, &*request.customer_id, &*request.game_ids[0])
        })
        .collect();
    assert_eq!(logged, answered, "each grant has exactly one effect, which its answer named");
}

/// Cuts the connection in the commit of a batch, in which each game is asked for twice: whoever is told that the customer
/// owns the game already must have been beaten by the other one, not by themselves.
async fn a_batch_is_settled(fate: Fate) {
    // With this many in the queue, the next one is refused: that tells that these wait, and share a commit.
    const QUEUE: &str = "6";
    let setup = Setup::new(&["--queue-requests", QUEUE]).await;
    let (open, gate) = oneshot::channel();
    setup.proxy.next_commits([Fate::Delayed(gate), fate]);
    let first = grant("first", "game");
    let first_answer = setup.arbiter.send(&first);
    setup.proxy.until(|seen| seen.commits == 1).await;

    let requests: Vec<_> = (0..14).map(|number| grant(&format!("c{}", number / 2), "game")).collect();
    let mut asking = JoinSet::new();
    for (index, request) in requests.iter().enumerate() {
        let answer = setup.arbiter.send(request);
        asking.spawn(async move { (index, outcome(answer.await.unwrap())) });
    }
    let (refused, no_room) = asking.join_next().await.unwrap().unwrap();
    assert_eq!(no_room, (Outcome::QueueFull, false), "the only answers before the commit");
    open.send(()).unwrap();

    let mut outcomes = vec![Outcome::QueueFull; requests.len()];
    let mut unserved = vec![refused];
    while let Some(answer) = asking.join_next().await {
        let (index, (outcome, replayed)) = answer.unwrap();
        assert!(!replayed, "no request was sent twice: {outcome:?}");
        outcomes[index] = outcome;
        unserved.extend((outcome == Outcome::QueueFull).then_some(index));
    }
    assert_eq!(outcome(first_answer.await.unwrap()), (Outcome::Granted { revision: 1 }, false));
    let served = requests.len() - unserved.len();
    assert!(setup.proxy.seen().commits < served, "the connection was cut in a commit of several requests");
    assert_eq!(setup.proxy.seen().cuts, 1);
    for index in unserved {
        outcomes[index] = outcome(setup.arbiter.ask(&requests[index]).await).0;
    }
    for (request, told) in requests.iter().zip(&outcomes) {
        assert_eq!(outcome(setup.arbiter.ask(request).await), (*told, true), "a repeat tells the same");
    }

    let mut granted = BTreeMap::from([(1, &first)]);
    for (request, outcome) in requests.iter().zip(outcomes) {
        if let Outcome::Granted { revision } = outcome {
            granted.insert(revision, request);
        }
    }
    assert_eq!(granted.len(), 1 + requests.len() / 2, "each game was given to one of the two who asked");
    assert_committed(&setup.committed().await, &granted);
}

#[tokio::test]
async fn a_batch_whose_commit_never_arrived_is_committed_once() {
    a_batch_is_settled(Fate::Dropped(Aftermath::Reconnect)).await;
}

#[tokio::test]
async fn a_batch_whose_commit_was_applied_and_not_answered_is_told_so() {
    a_batch_is_settled(Fate::Unanswered(Aftermath::Reconnect)).await;
}

/// Cuts the connection while the statement is executed and its transaction open. Nothing may be said before that has ended.
async fn an_open_transaction_is_waited_for(end: End) {
    let mut setup = Setup::new(&[]).await;
    let (finish, ending) = oneshot::channel();
    setup.proxy.next_commits([Fate::Open(ending)]);
    let request = grant("c", "game");
    let answer = setup.arbiter.send(&request);
    setup.proxy.until(|seen| seen.cuts == 1).await;
    let epochs = setup.proxy.seen().epochs;
    setup.database.until_a_transaction_waits().await;
    assert_eq!(setup.proxy.seen().epochs, epochs, "the new epoch waits for the old transaction");
    assert!(!answer.is_finished());
    finish.send(end).unwrap();

    let told = outcome(answer.await.unwrap());
    assert_eq!(told, (Outcome::Granted { revision: 1 }, false));
    let again = outcome(setup.arbiter.ask(&request).await);
    assert_eq!(again, (Outcome::Granted { revision: 1 }, true));
    assert_committed(&setup.committed().await, &BTreeMap::from([(1, &request)]));
}

#[tokio::test]
async fn a_commit_that_is_applied_after_the_cut_is_waited_for() {
    an_open_transaction_is_waited_for(End::Commit).await;
}

#[tokio::test]
async fn a_commit_that_is_rolled_back_after_the_cut_is_done_again() {
    an_open_transaction_is_waited_for(End::Abort).await;
}

#[tokio::test]
async fn a_commit_that_arrives_after_the_new_epoch_has_no_effect() {
    let setup = Setup::new(&[]).await;
    let ((arrive, late), (go_on, again)) = (oneshot::channel(), oneshot::channel());
    setup.proxy.next_commits([Fate::Late(late), Fate::Delayed(again)]);
    let request = grant("c", "game");
    let answer = setup.arbiter.send(&request);
    // The new epoch is committed, and the same batch on its way again, when the first one arrives.
    setup.proxy.until(|seen| seen.commits == 2).await;
    arrive.send(()).unwrap();
    setup.proxy.until(|seen| seen.ended == 1).await;
    go_on.send(()).unwrap();

    let told = outcome(answer.await.unwrap());
    assert_eq!(told, (Outcome::Granted { revision: 1 }, false));
    assert_committed(&setup.committed().await, &BTreeMap::from([(1, &request)]));
}

/// Cuts the connection in a commit, and lets nobody through until the arbiter has given up to find out.
async fn an_outcome_is_called_unknown(fate: Fate, was_applied: bool) {
    let options = ["--settle-timeout-ms", "100", "--database-connect-timeout-ms", "1500"];
    let setup = Setup::new(&options).await;
    setup.proxy.next_commits([fate]);
    let request = grant("c", "game");
    let status = setup.arbiter.ask(&request).await.expect_err("nobody knows yet");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::OutcomeUnknown)));
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(retry.is_some_and(|delay| !delay.is_zero()), "it is said when to ask again: {status:?}");

    // What comes during the outage was certainly not written.
    let other = grant("d", "game");
    let status = setup.arbiter.ask(&other).await.expect_err("the store cannot be reached");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::StoreUnavailable)));
    assert!(status.get_details_retry_info().is_some());

    setup.proxy.heal();
    let told = loop {
        match setup.arbiter.ask(&request).await {
            Err(status) if status.code() == Code::Unavailable => tokio::time::sleep(PAUSE).await,
            answer => break outcome(answer),
        }
    };
    assert_eq!(told, (Outcome::Granted { revision: 1 }, was_applied), "the same request id tells");
    assert_eq!(outcome(setup.arbiter.ask(&other).await), (Outcome::Granted { revision: 2 }, false));
    assert_committed(&setup.committed().await, &BTreeMap::from([(1, &request), (2, &other)]));
}

#[tokio::test]
async fn an_outcome_that_was_applied_is_called_unknown_while_the_store_is_away() {
    an_outcome_is_called_unknown(Fate::Unanswered(Aftermath::Outage), true).await;
}

#[tokio::test]
async fn an_outcome_that_was_not_applied_is_called_unknown_while_the_store_is_away() {
    an_outcome_is_called_unknown(Fate::Dropped(Aftermath::Outage), false).await;
}

#[tokio::test]
async fn a_repeat_during_the_outage_is_not_told_that_nothing_was_written() {
    let options = ["--settle-timeout-ms", "100", "--database-connect-timeout-ms", "1500"];
    let setup = Setup::new(&options).await;
    setup.proxy.next_commits([Fate::Unanswered(Aftermath::Outage)]);
    let request = grant("c", "game");
    let status = setup.arbiter.ask(&request).await.expect_err("nobody knows yet");
    assert_eq!(reason_of(&status), Some(Reason::OutcomeUnknown));
    // It was written; this process knows that it may have been.
    let status = setup.arbiter.ask(&request).await.expect_err("nobody knows yet");
    assert_eq!(reason_of(&status), Some(Reason::OutcomeUnknown), "{}", status.message());
}

/// How long our clients wait for an answer, by their defaults.
const CALLERS_DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn with_the_defaults_an_unknown_outcome_is_told_before_a_callers_deadline() {
    let setup = Setup::new(&[]).await;
    setup.proxy.next_commits([Fate::Unanswered(Aftermath::Outage)]);
    let request = grant("c", "game");
    let told = tokio::time::timeout(CALLERS_DEADLINE, setup.arbiter.ask(&request)).await;
    let status = told.expect("it is told in time").expect_err("nobody knows yet");
    assert_eq!(reason_of(&status), Some(Reason::OutcomeUnknown));
}

#[tokio::test]
async fn with_the_defaults_a_server_that_falls_silent_again_is_told_before_a_callers_deadline() {
    let setup = Setup::new(&[]).await;
    setup.proxy.next_commits([Fate::Silent, Fate::Silent, Fate::Silent]);
    let told = tokio::time::timeout(CALLERS_DEADLINE, setup.arbiter.ask(&grant("c", "game"))).await;
    let status = told.expect("it is told in time").expect_err("nobody knows yet");
    assert_eq!(reason_of(&status), Some(Reason::OutcomeUnknown));
}

#[tokio::test]
async fn a_server_that_falls_silent_in_a_commit_is_given_up() {
    let options = ["--settle-timeout-ms", "100", "--database-connect-timeout-ms", "1500"];
    let setup = Setup::new(&options).await;
    setup.proxy.next_commits([Fate::Silent]);
    let (request, other) = (grant("c", "game"), grant("d", "game"));
    let told = tokio::time::timeout(Duration::from_secs(20), setup.arbiter.ask(&request)).await;
    let status = told.expect("a commit is not waited for without end");
    if let Err(status) = status {
        assert_eq!(reason_of(&status), Some(Reason::OutcomeUnknown), "{status:?}");
    }
    outcome(setup.arbiter.ask(&other).await);
}
