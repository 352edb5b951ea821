//! What every store must do, run against both.

use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use super::testing::{TestStore, on_both_stores};
use super::{Batch, CommitError, Head, StoredRequest};
use crate::domain::{
    Cause, Command, Commit, Entitlement, Key, Moment, Needs, OnNothingToDo, Operation, Outcome, Reason,
    RequestId, Revision, Rules, State, Verdict, decide,
};

on_both_stores!(
    leading_raises_the_epoch_and_keeps_the_store,
    whoever_was_taken_over_cannot_lead_again,
    a_new_incarnation_begins_only_with_a_restored_store,
    a_batch_is_read_back_after_a_restart,
    what_was_acknowledged_is_there_after_a_crash,
    what_left_the_log_is_there_after_a_crash,
    reads_beside_the_writer_show_their_revision_whole,
    an_older_epoch_is_fenced,
    another_revision_is_fenced,
    a_batch_that_fails_leaves_nothing,
    a_revocation_moves_the_entitlement_to_the_past,
    reads_show_the_revision_that_was_asked,
    replacing_within_a_batch_keeps_both_lives,
    what_began_and_ended_in_one_commit_was_never_owned,
    pages_are_ordered_by_bytes_and_complete,
    ids_of_any_characters_are_kept,
    the_log_is_in_order_and_whole,
    outcomes_without_commits_are_kept,
);

fn cause() -> Arc<Cause> {
    Arc::new(Cause {
        reason: Reason::Purchase,
        actor: "test's \"actor\"".to_owned(),
        order_id: "o-1".to_owned(),
    })
}

fn key(customer_id: &str, game_id: &str) -> Key {
    (customer_id.parse().unwrap(), game_id.parse().unwrap())
}

fn request_id(number: u64) -> RequestId {
    RequestId::new_v7(number, [7; 10])
}

const RULES: Rules = Rules { reservations_per_customer: 10, limited_editions: 10 };

/// What is to become a commit: changes, granting where `true`.
pub(super) struct Draft {
    revision: Revision,
    command: Command,
}

pub(super) fn commit(revision: Revision, changes: &[(bool, &str, &str)]) -> Draft {
    let operation = |(granted, customer_id, game_id): &(bool, &str, &str)| {
        let key = key(customer_id, game_id);
        match granted {
            true => Operation::Grant { key, on_owned: OnNothingToDo::Refuse, ends_at_ms: None },
            false => Operation::Revoke { key, on_not_owned: OnNothingToDo::Refuse },
        }
    };
    draft(revision, changes.iter().map(operation).collect())
}

fn draft(revision: Revision, operations: Vec<Operation>) -> Draft {
    Draft { revision, command: Command { preconditions: Vec::new(), operations, cause: cause() } }
}

fn stored(request_id: RequestId, revision: Revision) -> StoredRequest {
    let outcome = Outcome {
        revision,
        verdict: Verdict::Accepted { changed: vec![true, false], expires_at_ms: Some(7) },
    };
    StoredRequest { request_id, content_hash: [9; 32], outcome, decided_at_ms: 5 }
}

/// What writes these commits on top of what is stored.
pub(super) async fn batch_of(test: &TestStore, drafts: Vec<Draft>) -> Batch {
    let mut needs = Needs::default();
    for draft in &drafts {
        needs.add(&draft.command);
    }
    let stocks = test.store.stocks().await.unwrap();
    let stocks: HashMap<_, _> = stocks.into_iter().map(|stock| (stock.game_id.clone(), stock)).collect();
    let mut state = State::new(&stocks);
    let ids: Vec<_> = needs.reservations.iter().copied().collect();
    for reservation in test.store.reservations(&ids, &[]).await.unwrap() {
        needs.keys.insert(reservation.key());
        state.know_reservation(reservation);
    }
    let keys: Vec<Key> = needs.keys.into_iter().collect();
    for entitlement in test.store.load(&[], &keys).await.unwrap().entitlements {
        state.know(entitlement.key(), Some(Arc::new(entitlement)));
    }
    let mut batch = Batch::default();
    for Draft { revision, command } in drafts {
        let moment = Moment { head: revision - 1, now_ms: 1_000 + revision };
        let decision = decide(request_id(revision), &command, &mut state, moment, &RULES);
        assert!(matches!(decision.verdict, Verdict::Accepted { .. }), "{decision:?}");
        batch.commits.push(Commit {
            revision,
            request_id: request_id(revision),
            committed_at_ms: moment.now_ms,
            cause: command.cause,
            changes: decision.changes,
            traceparent: String::new(),
        });
        batch.requests.push(Arc::new(stored(request_id(revision), revision)));
    }
    batch.effects = state.into_effects();
    batch
}

/// Commits batches, one after the other.
pub(super) async fn write(test: &TestStore, head: &mut Head, batches: Vec<Vec<Draft>>) {
    for commits in batches {
        let batch = batch_of(test, commits).await;
        test.store.commit(head, &batch).await.unwrap();
        head.revision = batch.commits.last().unwrap().revision;
    }
}

fn shown(entitlements: &[Entitlement]) -> Vec<(&str, &str, Revision)> {
    let shown = entitlements.iter();
    shown.map(|one| (one.customer_id.as_str(), one.game_id.as_str(), one.valid_from)).collect()
}

async fn a_new_incarnation_begins_only_with_a_restored_store(mut test: TestStore) {
    assert_eq!(test.incarnation(false).await, 1);
    test.reopen().await;
    assert_eq!(test.incarnation(false).await, 1);
    test.crash().await;
    assert_eq!(test.incarnation(false).await, 1);
    test.reopen().await;
    assert_eq!(test.incarnation(true).await, 2, "it was said so");
    test.reopen().await;
    assert_eq!(test.incarnation(false).await, 2);
    let copy = test.copy().await;
    assert_eq!(
        copy.incarnation_at(false, 5_000).await,
        5_000,
        "it is not where it was, and no restore before was at that time"
    );
    assert_eq!(copy.incarnation_at(false, 6_000).await, 5_000);
    assert_eq!(copy.incarnation_at(true, 4_000).await, 5_001, "whatever the clock says");
    let (leader_id, _) = copy.lead().await;
    copy.lead().await;
    assert_eq!(copy.store.settle_incarnation(leader_id, true, 0).await.unwrap(), None, "another one leads");
}

async fn leading_raises_the_epoch_and_keeps_the_store(mut test: TestStore) {
    let (leader_id, first) = test.lead().await;
    assert_eq!((first.epoch, first.revision, first.incarnation), (1, 0, 1));
    let again = test.store.lead(leader_id, false).await.unwrap().expect("the same process leads on");
    assert_eq!(again, Head { epoch: 2, ..first });
    test.reopen().await;
    assert_eq!(test.lead().await.1, Head { epoch: 3, ..first });
}

async fn whoever_was_taken_over_cannot_lead_again(test: TestStore) {
    let (first, _) = test.lead().await;
    let (_, second) = test.lead().await;
    assert_eq!(test.store.lead(first, false).await.unwrap(), None);
    write(&test, &mut second.clone(), vec![vec![commit(1, &[(true, "c", "g")])]]).await;
}

async fn a_batch_is_read_back_after_a_restart(mut test: TestStore) {
    let (_, head) = test.lead().await;
    let drafts = vec![commit(1, &[(true, "c", "g"), (true, "c", "h")]), commit(2, &[(true, "d", "g")])];
    let batch = batch_of(&test, drafts).await;
    test.store.commit(&head, &batch).await.unwrap();
    test.reopen().await;
    assert_eq!(test.lead().await.1.revision, 2);
    let loaded =
        test.store.load(&[request_id(1), request_id(3)], &[key("c", "g"), key("c", "x")]).await.unwrap();
    assert_eq!(loaded.requests, [stored(request_id(1), 1)]);
    assert_eq!(shown(&loaded.entitlements), [("c", "g", 1)]);
    assert_eq!(loaded.entitlements[0].cause, cause());
    assert_eq!(loaded.entitlements[0].granted_at_ms, 1_001);
    assert_eq!(test.store.log(0, 10).await.unwrap(), batch.commits);
}

/// Twelve customers get games, in batches as the writer makes them; some lose theirs, and one of them gets it again.
async fn write_much(test: &TestStore, head: &mut Head) {
    let customers: Vec<String> = (1..=12).map(|number| format!("c{}", number * 7 % 13)).collect();
    let mut batches: Vec<Vec<Draft>> = Vec::new();
    for (number, customer) in (1..).zip(&customers) {
        batches.push(vec![commit(number, &[(true, customer, "g")])]);
    }
    batches
        .push(vec![commit(13, &[(false, "c7", "g")]), commit(14, &[(false, "c1", "g"), (true, "c1", "h")])]);
    batches.push(vec![commit(15, &[(true, "c7", "g")])]);
    write(test, head, batches).await;
}

/// What every read says of some revisions.
async fn everything(test: &TestStore) -> Vec<String> {
    let mut everything = Vec::new();
    let keys: Vec<Key> = (1..=12)
        .flat_map(|number| [key(&format!("c{number}"), "g"), key(&format!("c{number}"), "h")])
        .collect();
    let loaded = test.store.load(&[request_id(13)], &keys).await.unwrap();
    let mut loaded_keys = shown(&loaded.entitlements);
    loaded_keys.sort_unstable();
    everything.push(format!("{:?} {loaded_keys:?}", loaded.requests));
    for at in [3, 12, 13, 15] {
        let mut page = test.store.snapshot(at, None, 5).await.unwrap();
        while let Some(last) = page.last() {
            let next = test.store.snapshot(at, Some(&last.key()), 5).await.unwrap();
            everything.push(format!("{at}: {page:?}"));
            page = next;
        }
        let mut checked = test.store.check(at, &keys).await.unwrap();
        checked.sort_by_key(Entitlement::key);
        everything.push(format!("{at}: {checked:?}"));
        for customer in ["c1", "c7", "c12"] {
            let subject = (customer.parse().unwrap(), None);
            everything.push(format!("{at}: {:?}", test.store.list(at, &subject.0, None, 9).await.unwrap()));
            everything.push(format!("{at}: {:?}", test.store.history(at, &subject, None, 9).await.unwrap()));
            everything
                .push(format!("{at}: {:?}", test.store.explain(at, &key(customer, "g")).await.unwrap()));
            everything.push(format!("{:?}", test.store.last_change(&subject).await.unwrap()));
        }
    }
    everything
}

async fn what_was_acknowledged_is_there_after_a_crash(mut test: TestStore) {
    let (_, mut head) = test.lead().await;
    write_much(&test, &mut head).await;
    let before = everything(&test).await;
    test.crash().await;
    assert_eq!(test.lead().await.1.revision, 15);
    assert_eq!(everything(&test).await, before);
    // It goes on as if nothing had been.
    let (_, mut head) = test.lead().await;
    write(&test, &mut head, vec![vec![commit(16, &[(false, "c7", "g"), (false, "c12", "g")])]]).await;
    test.crash().await;
    let listed = test.store.list(16, &"c12".parse().unwrap(), None, 9).await.unwrap();
    assert_eq!(shown(&listed), []);
    test.reopen().await;
    assert_eq!(shown(&test.store.check(16, &[key("c7", "g"), key("c2", "g")]).await.unwrap()).len(), 1);
}

async fn what_left_the_log_is_there_after_a_crash(mut test: TestStore) {
    let (leader_id, mut head) = test.lead().await;
    write_much(&test, &mut head).await;
    let before = everything(&test).await;
    assert!(test.store.raise_log_mark(leader_id, 14).await.unwrap());
    while test.store.trim_log(4).await.unwrap() > 0 {}
    assert_eq!(everything(&test).await, before);
    test.crash().await;
    assert_eq!(everything(&test).await, before);
}

async fn reads_beside_the_writer_show_their_revision_whole(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let customers: Vec<String> = (0..60).map(|number| format!("c{:02}", number * 17 % 60)).collect();
    for (number, customer) in (1..).zip(&customers[..30]) {
        write(&test, &mut head, vec![vec![commit(number, &[(true, customer, "g")])]]).await;
    }
    let store = Arc::clone(&test.store);
    let read = async {
        let expected = test.store.snapshot(30, None, 100).await.unwrap();
        assert_eq!(expected.len(), 30);
        for _ in 0..150 {
            assert_eq!(store.snapshot(30, None, 100).await.unwrap(), expected);
            let last = &expected[29];
            assert_eq!(store.list(30, &last.customer_id, None, 9).await.unwrap(), *slice::from_ref(last));
            assert_eq!(store.check(30, &[last.key()]).await.unwrap(), *slice::from_ref(last));
        }
    };
    let write = async {
        for (number, customer) in (31..).zip(&customers[30..]) {
            // Somebody loses what was seen, and somebody else gets it.
            let earlier = &customers[number - 31];
            let number = number as Revision;
            let changes = [(false, earlier.as_str(), "g"), (true, customer.as_str(), "g")];
            write(&test, &mut head, vec![vec![commit(number, &changes)]]).await;
        }
    };
    tokio::join!(read, write);
}

async fn an_older_epoch_is_fenced(test: TestStore) {
    let (_, old) = test.lead().await;
    test.lead().await;
    let batch = batch_of(&test, vec![commit(1, &[(true, "c", "g")])]).await;
    assert!(matches!(test.store.commit(&old, &batch).await, Err(CommitError::Fenced)));
    assert_nothing_is_there(&test).await;
}

async fn another_revision_is_fenced(test: TestStore) {
    let (_, head) = test.lead().await;
    let batch = batch_of(&test, vec![commit(2, &[(true, "c", "g")])]).await;
    let ahead = Head { revision: 1, ..head };
    assert!(matches!(test.store.commit(&ahead, &batch).await, Err(CommitError::Fenced)));
    assert_nothing_is_there(&test).await;
}

async fn assert_nothing_is_there(test: &TestStore) {
    let loaded = test.store.load(&[request_id(1), request_id(2)], &[key("c", "g")]).await.unwrap();
    assert_eq!((loaded.requests.len(), loaded.entitlements.len()), (0, 0));
    assert_eq!(test.store.log(0, 10).await.unwrap(), []);
    assert_eq!(test.lead().await.1.revision, 0);
}

async fn a_batch_that_fails_leaves_nothing(test: TestStore) {
    let (_, head) = test.lead().await;
    let mut batch = batch_of(&test, vec![commit(1, &[(true, "c", "g")])]).await;
    // The same request twice breaks the primary key of requests, after entitlements were written.
    batch.requests.push(Arc::new(stored(request_id(1), 1)));
    assert!(matches!(test.store.commit(&head, &batch).await, Err(CommitError::Conflict)));
    assert_nothing_is_there(&test).await;
    let (_, mut head) = test.lead().await;
    write(&test, &mut head, vec![vec![commit(1, &[(true, "c", "g")])]]).await;
}

async fn a_revocation_moves_the_entitlement_to_the_past(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let batches =
        vec![vec![commit(1, &[(true, "c", "g"), (true, "c", "h")])], vec![commit(2, &[(false, "c", "g")])]];
    write(&test, &mut head, batches).await;
    let list = async |at| test.store.list(at, &"c".parse().unwrap(), None, 10).await.unwrap();
    assert_eq!(shown(&list(1).await), [("c", "g", 1), ("c", "h", 1)]);
    assert_eq!(shown(&list(2).await), [("c", "h", 1)]);
    write(&test, &mut head, vec![vec![commit(3, &[(true, "c", "g")])]]).await;
    assert_eq!(shown(&list(3).await), [("c", "g", 3), ("c", "h", 1)]);
    assert_eq!(
        shown(&list(1).await),
        [("c", "g", 1), ("c", "h", 1)],
        "what was is not changed by what came after"
    );
}

async fn reads_show_the_revision_that_was_asked(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let batches =
        vec![vec![commit(1, &[(true, "c", "g")])], vec![commit(2, &[(true, "c", "h"), (false, "c", "g")])]];
    write(&test, &mut head, batches).await;
    let keys = [key("c", "g"), key("c", "h"), key("d", "g")];
    let check = async |at| {
        let owned = test.store.check(at, &keys).await.unwrap();
        owned.iter().map(|one| one.game_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(check(0).await, [""; 0]);
    assert_eq!(check(1).await, ["g"]);
    assert_eq!(check(2).await, ["h"]);
    assert_eq!(shown(&test.store.snapshot(1, None, 10).await.unwrap()), [("c", "g", 1)]);
    assert_eq!(shown(&test.store.snapshot(2, None, 10).await.unwrap()), [("c", "h", 2)]);
}

async fn replacing_within_a_batch_keeps_both_lives(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let back_and_forth = vec![
        commit(2, &[(false, "c", "g")]),
        commit(3, &[(true, "c", "g")]),
        commit(4, &[(true, "c", "h")]),
        commit(5, &[(false, "c", "h")]),
    ];
    write(&test, &mut head, vec![vec![commit(1, &[(true, "c", "g")])], back_and_forth]).await;
    for (at, expected) in [
        (1, vec![("c", "g", 1)]),
        (2, vec![]),
        (3, vec![("c", "g", 3)]),
        (4, vec![("c", "g", 3), ("c", "h", 4)]),
        (5, vec![("c", "g", 3)]),
    ] {
        let entitlements = test.store.list(at, &"c".parse().unwrap(), None, 10).await.unwrap();
        assert_eq!(shown(&entitlements), expected, "at revision {at}");
    }
}

async fn what_began_and_ended_in_one_commit_was_never_owned(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let (on, off) = ((true, "c", "g"), (false, "c", "g"));
    let batches = vec![
        vec![commit(1, &[on, off, on, off])],
        vec![commit(2, &[on, off, on]), commit(3, &[off, on, off, on, off])],
        vec![commit(4, &[on])],
    ];
    write(&test, &mut head, batches).await;
    let subject = ("c".parse().unwrap(), None);
    let history = test.store.history(4, &subject, None, 9).await.unwrap();
    let lives =
        history.iter().map(|one| (one.entitlement.valid_from, one.end.as_ref().map(|end| end.valid_to)));
    assert_eq!(lives.collect::<Vec<_>>(), [(2, Some(3)), (4, None)]);
    for (at, began) in [(1, None), (2, Some(2)), (3, Some(2)), (4, Some(4))] {
        let explained = test.store.explain(at, &key("c", "g")).await.unwrap();
        assert_eq!(explained.map(|one| one.entitlement.valid_from), began, "at revision {at}");
    }
    assert_eq!(test.store.last_change(&subject).await.unwrap(), 4);
    write(&test, &mut head, vec![vec![commit(5, &[(true, "d", "g"), (false, "d", "g")])]]).await;
    let last = test.store.last_change(&("d".parse().unwrap(), None)).await.unwrap();
    assert_eq!(last, 5, "something changed, though nothing is left of it");
}

async fn pages_are_ordered_by_bytes_and_complete(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let customers = ["a", "Z", "é", "B", "a b", "10", "9"];
    let games = ["b-c", "b", "a10", "a9", "bc"];
    let changes: Vec<_> = customers
        .iter()
        .flat_map(|customer| games.iter().map(move |game| (true, *customer, *game)))
        .collect();
    write(&test, &mut head, vec![vec![commit(1, &changes)]]).await;
    let mut expected: Vec<_> = changes.iter().map(|(_, customer, game)| (*customer, *game, 1)).collect();
    expected.sort_unstable();
    for limit in [1, 3, 7, 100] {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|last: &Entitlement| (last.customer_id.clone(), last.game_id.clone()));
            let page = test.store.snapshot(1, after.as_ref(), limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(shown(&all), expected, "in pages of {limit}");
    }
    let first = test.store.list(1, &"Z".parse().unwrap(), None, 2).await.unwrap();
    let second = test.store.list(1, &"Z".parse().unwrap(), Some(&first[1].game_id), 9).await.unwrap();
    let listed: Vec<_> = first.iter().chain(&second).map(|one| one.game_id.as_str()).collect();
    assert_eq!(listed, ["a10", "a9", "b", "b-c", "bc"]);
}

async fn ids_of_any_characters_are_kept(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let customers =
        ["'; DROP TABLE head; --", "{\"a\":[1]}", "💿 disc", "back\\slash", "100%", "null", "1e9"];
    let changes: Vec<_> = customers.iter().map(|customer| (true, *customer, "g")).collect();
    write(&test, &mut head, vec![vec![commit(1, &changes)]]).await;
    for customer in customers {
        let listed = test.store.list(1, &customer.parse().unwrap(), None, 9).await.unwrap();
        assert_eq!(shown(&listed), [(customer, "g", 1)]);
        assert_eq!(test.store.check(1, &[key(customer, "g")]).await.unwrap().len(), 1);
    }
}

async fn the_log_is_in_order_and_whole(test: TestStore) {
    let (_, mut head) = test.lead().await;
    let one = |revision| commit(revision, &[(true, "c", &format!("g{revision}"))]);
    let batches = vec![(1..=3).map(one).collect(), vec![one(4)], (5..=9).map(one).collect()];
    write(&test, &mut head, batches).await;
    let log = async |after, limit| {
        let commits = test.store.log(after, limit).await.unwrap();
        commits.iter().map(|commit| commit.revision).collect::<Vec<_>>()
    };
    assert_eq!(log(0, 100).await, (1..=9).collect::<Vec<_>>());
    assert_eq!(log(1, 100).await, (2..=9).collect::<Vec<_>>(), "from the middle of a batch on");
    assert_eq!(log(0, 2).await, (1..=4).collect::<Vec<_>>(), "at most two batches");
    assert_eq!(log(9, 100).await, [0; 0]);
}

async fn outcomes_without_commits_are_kept(test: TestStore) {
    let (_, head) = test.lead().await;
    let batch = Batch { requests: vec![Arc::new(stored(request_id(1), 0))], ..Batch::default() };
    test.store.commit(&head, &batch).await.unwrap();
    let loaded = test.store.load(&[request_id(1)], &[]).await.unwrap();
    assert_eq!(loaded.requests, [stored(request_id(1), 0)]);
    assert_eq!(test.lead().await.1.revision, 0, "a refusal takes no revision");
}
