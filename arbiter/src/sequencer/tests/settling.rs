//! What the sequencer does when a store goes wrong, on both stores.

use super::harness::*;

on_both_stores!(
    one_bad_request_does_not_poison_its_batch,
    one_bad_request_does_not_poison_a_batch_that_is_settled,
    a_conflict_that_remains_does_not_poison_its_batch,
    what_ends_by_itself_harms_no_request,
    a_lost_answer_is_settled_with_one_effect,
    a_repeat_is_called_one_though_an_answer_was_lost,
    a_repeat_of_what_changed_nothing_is_called_one_though_an_answer_was_lost,
    a_repeat_in_a_batch_that_is_taken_apart_while_it_is_settled_is_called_one,
    an_unreachable_store_is_told_and_recovers,
    a_commit_that_failed_is_called_unknown_and_ends_the_arbiter,
    whoever_is_taken_over_commits_nothing_more,
    whoever_is_taken_over_does_not_settle_by_leading_again,
    whoever_waits_when_writing_ends_is_told_what_is_known,
    a_request_that_is_let_fall_may_have_been_written,
);

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

async fn a_conflict_that_remains_does_not_poison_its_batch(test: TestStore) {
    let (_, store) = faulty(&test, &[Fault::ConflictTogether; 2]);
    let running = start(&store).await;
    let requests = (1..=3).map(|number| (id(number), grant(&format!("c{number}"), &["g"], Refuse)));
    let answers = running.ask_together(requests.collect()).await;
    assert_eq!(answers, [1, 2, 3].map(|revision| accepted(revision, &[true], false)));
    running.stop().await.unwrap();
}

async fn what_ends_by_itself_harms_no_request(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let clock = TestClock::new();
    let running = start_with(&shared, Setup::with_clock(&clock)).await;
    let ends_at_ms = clock.now_ms() + 1_000;
    running.ask(id(1), grant_until("c", "g", ends_at_ms)).await.unwrap();
    // The store takes no end from now on, and what is due stands at the beginning of every batch.
    store.set_refuses_own(true);
    clock.advance(1_000);
    assert_eq!(running.ask(id(2), grant("d", &["g"], Refuse)).await, accepted(2, &[true], false));
    let commits = store.commits();
    let requests = (3..=5).map(|number| (id(number), grant(&format!("c{number}"), &["g"], Refuse)));
    let answers = running.ask_together(requests.collect()).await;
    assert_eq!(answers, [3, 4, 5].map(|revision| accepted(revision, &[true], false)));
    assert_eq!(store.commits(), commits + 1, "it is left alone for a while");
    store.set_refuses_own(false);
    clock.advance(1_000);
    assert_eq!(running.ask(id(6), grant("c", &["g"], Refuse)).await, accepted(7, &[true], false));
    running.stop().await.unwrap();
}

async fn a_repeat_is_called_one_though_an_answer_was_lost(test: TestStore) {
    for (number, fault) in [(0, Fault::LostBefore), (10, Fault::LostAfter)] {
        let (store, shared) = faulty(&test, &[]);
        let running = start(&shared).await;
        let command = |number: u64| grant(&format!("c{number}"), &["g"], Refuse);
        let earlier = running.ask(id(number), command(number)).await.unwrap();
        store.push_fault(fault);
        let first = earlier.outcome.revision + 1;
        let requests = vec![
            (id(number + 1), command(number + 1)),
            (id(number), command(number)),
            (id(number + 1), command(number + 1)),
        ];
        let answers = running.ask_together(requests).await;
        let expected = [(first, false), (first - 1, true), (first, true)];
        assert_eq!(answers, expected.map(|(revision, replayed)| accepted(revision, &[true], replayed)));
        running.stop().await.unwrap();
    }
}

async fn a_repeat_of_what_changed_nothing_is_called_one_though_an_answer_was_lost(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let clock = TestClock::new();
    let running = start_with(&shared, Setup::with_clock(&clock)).await;
    let five_copies = || {
        let game_id = "g".parse().unwrap();
        command(vec![Operation::SetStock { game_id, amount: StockAmount::Total(5) }])
    };
    assert_eq!(running.ask(id(1), five_copies()).await, accepted(1, &[true], false));
    assert_eq!(running.ask(id(2), five_copies()).await, accepted(1, &[false], false));
    clock.advance(1);
    // Decided anew it would have the same outcome at the same revision.
    store.push_fault(Fault::LostBefore);
    assert_eq!(running.ask(id(2), five_copies()).await, accepted(1, &[false], true));
    for (number, fault) in [(3, Fault::LostBefore), (4, Fault::LostAfter)] {
        store.push_fault(fault);
        assert_eq!(running.ask(id(number), five_copies()).await, accepted(1, &[false], false));
    }
    running.stop().await.unwrap();
}

async fn a_repeat_in_a_batch_that_is_taken_apart_while_it_is_settled_is_called_one(test: TestStore) {
    let (_, store) = faulty(&test, &[Fault::LostBefore, Fault::RefusedTogether]);
    let running = start(&store).await;
    let twice = || (id(1), revoke("c", &["g"], Skip));
    let answers = running.ask_together(vec![twice(), twice(), (id(2), grant("d", &["g"], Refuse))]).await;
    let expected = [accepted(0, &[false], false), accepted(0, &[false], true), accepted(1, &[true], false)];
    assert_eq!(answers, expected);
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
    let running = start_with(
        &shared,
        Setup { limits: SequencerLimits { settle_timeout_ms: 2_000, ..LIMITS }, ..Setup::default() },
    )
    .await;
    let refused = running.ask(id(1), grant("c", &["g"], Refuse)).await;
    assert_eq!(refused, Err(SubmitError::StoreUnavailable), "nothing was written, and that is said");
    store.set_unreachable(false);
    assert_eq!(running.ask(id(1), grant("c", &["g"], Refuse)).await, accepted(1, &[true], false));
    running.stop().await.unwrap();
}

async fn a_commit_that_failed_is_called_unknown_and_ends_the_arbiter(test: TestStore) {
    for (first, faults) in [(1, &[Fault::Fatal][..]), (4, &[Fault::LostBefore, Fault::Fatal])] {
        let (_, store) = faulty(&test, faults);
        let running = start(&store).await;
        let requests = || {
            let command = |number| (id(number), grant(&format!("c{number}"), &["g"], Refuse));
            (first..first + 3).map(command).collect::<Vec<_>>()
        };
        let answers = running.ask_together(requests()).await;
        assert_eq!(answers, [0; 3].map(|_| Err(SubmitError::OutcomeUnknown)), "only a new start can tell");
        let ended = running.task.await.unwrap();
        assert!(matches!(ended, Err(SequencerError::Fatal(_))), "{ended:?}");
        let late = submission(id(first + 100), grant("late", &["g"], Refuse));
        assert_eq!(running.handle.submit(late).await, Err(SubmitError::Stopped));
        let (request_id, command) = requests().remove(0);
        let repeated = running.handle.submit(submission(request_id, command)).await;
        assert_eq!(repeated, Err(SubmitError::OutcomeUnknown));
        let again = start(&test.store).await;
        let answers = again.ask_together(requests()).await;
        assert_eq!(answers, [0, 1, 2].map(|place| accepted(first + place, &[true], true)));
        again.stop().await.unwrap();
    }
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

async fn whoever_waits_when_writing_ends_is_told_what_is_known(test: TestStore) {
    let (store, shared) = faulty(&test, &[Fault::LostAfter]);
    let limits = SequencerLimits { settle_timeout_ms: 0, ..LIMITS };
    let first = start_with(&shared, Setup { limits, ..Setup::default() }).await;
    store.hold_leads();
    let command = |number: u64| grant(&format!("c{number}"), &["g"], Refuse);
    assert_eq!(first.ask(id(1), command(1)).await, Err(SubmitError::OutcomeUnknown));
    // Another one leads before the first has found out. Requests wait, one of them the repeated one.
    let second = start(&test.store).await;
    let waiting = [2, 1, 3].map(|number| first.submit(id(number), command(number)));
    until(|| first.handle.waiting() == 3).await;
    store.release_leads();
    let [new, repeated, other] = waiting;
    assert_eq!(repeated.await.unwrap(), Err(SubmitError::OutcomeUnknown), "it was written");
    for request in [new, other] {
        assert_eq!(request.await.unwrap(), Err(SubmitError::NotLeader));
    }
    assert_eq!(first.ask(id(1), command(1)).await, Err(SubmitError::OutcomeUnknown), "also when all is over");
    assert_eq!(first.task.await.unwrap(), Err(SequencerError::Fenced));
    assert_eq!(second.ask(id(1), command(1)).await, accepted(1, &[true], true));
    second.stop().await.unwrap();
}

async fn a_request_that_is_let_fall_may_have_been_written(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let running = start(&shared).await;
    store.hold_commits();
    let request = running.submit(id(1), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    running.task.abort();
    assert_eq!(request.await.unwrap(), Err(SubmitError::OutcomeUnknown));
}
