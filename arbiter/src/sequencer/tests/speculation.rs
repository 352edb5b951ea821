//! Batches that are decided on assumptions: right ones cost nothing, and wrong ones are noticed.

use super::harness::*;

on_both_stores!(
    what_is_new_is_written_without_a_look,
    a_wrong_assumption_is_noticed_and_decided_again,
    whatever_is_mixed_into_a_batch_is_decided_on_what_is_stored,
    what_is_stored_is_not_assumed_away_by_a_grant_and_its_revocation,
);

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what a request returns")]
fn refused(revision: u64, kind: RefusalKind, replayed: bool) -> Result<Answer, SubmitError> {
    let outcome = Outcome { revision, verdict: Verdict::Refused { items: vec![(0, kind)] } };
    Ok(Answer { outcome, replayed })
}

/// A process that knows nothing of what is stored: "c" owns "g" and "h" by request 1, and request 2 was refused.
async fn cold(mut test: TestStore) -> (TestStore, Arc<FaultyStore>, Running) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g", "h"], Refuse)).await.unwrap();
    running.ask(id(2), revoke("d", &["g"], Refuse)).await.unwrap();
    running.stop().await.unwrap();
    test.reopen().await;
    let (store, shared) = faulty(&test, &[]);
    let running = start(&shared).await;
    (test, store, running)
}

async fn what_is_new_is_written_without_a_look(test: TestStore) {
    let (_test, store, running) = cold(test).await;
    let calls = store.calls();
    assert_eq!(running.ask(id(3), grant("d", &["g"], Refuse)).await, accepted(2, &[true], false));
    let both = vec![(id(4), grant("e", &["g"], Skip)), (id(5), grant("c", &["i"], Refuse))];
    let answers = running.ask_together(both).await;
    assert_eq!(answers, [accepted(3, &[true], false), accepted(4, &[true], false)]);
    assert_eq!(store.calls(), calls + 2, "one call for each batch, and it is the commit");
    running.stop().await.unwrap();
}

async fn a_wrong_assumption_is_noticed_and_decided_again(test: TestStore) {
    let (_test, store, running) = cold(test).await;
    let (calls, commits) = (store.calls(), store.commits());
    let owned = refused(1, RefusalKind::AlreadyOwned, false);
    assert_eq!(running.ask(id(3), grant("c", &["g"], Refuse)).await, owned);
    assert_eq!((store.calls(), store.commits()), (calls + 3, commits + 2), "commit, load, commit");
    // After that the store is asked first for a while.
    let commits = store.commits();
    assert_eq!(running.ask(id(1), grant("c", &["g", "h"], Refuse)).await, accepted(1, &[true, true], true));
    let other = running.ask(id(2), grant("c", &["g"], Refuse)).await;
    assert_eq!((other, store.commits()), (Err(SubmitError::RequestIdReused), commits));
    running.stop().await.unwrap();
}

async fn whatever_is_mixed_into_a_batch_is_decided_on_what_is_stored(test: TestStore) {
    let (test, _store, running) = cold(test).await;
    let transfer = |from: &str, to: &str, game_id: &str| {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        command(vec![Operation::Transfer { from, to, game_id: game_id.parse().unwrap() }])
    };
    let requests = vec![
        (id(3), grant("new", &["g"], Refuse)),
        (id(2), revoke("d", &["g"], Refuse)),
        (id(1), grant("c", &["g", "h"], Refuse)),
        (id(4), grant("c", &["g", "x"], Skip)),
        (id(5), grant("c", &["h"], Refuse)),
        (id(1), grant("c", &["g"], Refuse)),
        (id(6), transfer("c", "e", "g")),
        (id(7), grant("c", &["g"], Refuse)),
        (id(8), revoke("c", &["h"], Refuse)),
        (id(3), grant("new", &["g"], Refuse)),
        (id(9), transfer("new", "c", "h")),
    ];
    let expected = [
        accepted(2, &[true], false),
        refused(1, RefusalKind::NotOwned, true),
        accepted(1, &[true, true], true),
        accepted(3, &[false, true], false),
        refused(3, RefusalKind::AlreadyOwned, false),
        Err(SubmitError::RequestIdReused),
        accepted(4, &[true], false),
        accepted(5, &[true], false),
        accepted(6, &[true], false),
        accepted(2, &[true], true),
        refused(6, RefusalKind::NotOwned, false),
    ];
    assert_eq!(running.ask_together(requests).await, expected);
    let owned = test.store.snapshot(6, None, 100).await.unwrap();
    let owned: Vec<_> =
        owned.iter().map(|one| (one.customer_id.as_str(), one.game_id.as_str(), one.valid_from)).collect();
    assert_eq!(owned, [("c", "g", 5), ("c", "x", 3), ("e", "g", 4), ("new", "g", 2)]);
    running.stop().await.unwrap();
}

async fn what_is_stored_is_not_assumed_away_by_a_grant_and_its_revocation(test: TestStore) {
    let (test, _store, running) = cold(test).await;
    // On the assumption that "c" does not own "g" both would be accepted, and nothing of them would be inserted.
    let both = vec![(id(3), grant("c", &["g"], Refuse)), (id(4), revoke("c", &["g"], Refuse))];
    let answers = running.ask_together(both).await;
    assert_eq!(answers, [refused(1, RefusalKind::AlreadyOwned, false), accepted(2, &[true], false)]);
    // The same within one request.
    let operations = vec![
        Operation::Grant { key: key("c", "h"), on_owned: Skip, ends_at_ms: None },
        Operation::Revoke { key: key("c", "h"), on_not_owned: Refuse },
    ];
    assert_eq!(running.ask(id(5), command(operations)).await, accepted(3, &[false, true], false));
    let preconditions = vec![Precondition::NotOwned(key("x", "y"))];
    let absent = Command { preconditions, ..grant("z", &["y"], Refuse) };
    assert_eq!(running.ask(id(6), absent).await, accepted(4, &[true], false));
    assert_eq!(test.store.snapshot(4, None, 100).await.unwrap().len(), 1);
    running.stop().await.unwrap();
}
