//! What the sequencer promises, on both stores.

use std::collections::BTreeSet;

use super::harness::*;

on_both_stores!(
    revisions_have_no_gaps_whatever_races,
    a_repeat_returns_the_original_outcome_after_a_restart,
    a_refusal_is_remembered,
    twice_in_one_batch_is_one_effect,
    other_content_under_a_request_id_is_refused,
    a_request_that_changes_nothing_takes_no_revision,
    an_answer_comes_only_after_the_commit,
    what_waits_together_is_committed_together,
);

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
