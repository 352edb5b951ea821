//! The queue is bounded, and nothing in it is lost.

use super::harness::*;

on_both_stores!(
    a_full_queue_refuses_at_once,
    a_queue_is_bounded_by_bytes_too,
    what_is_queued_at_the_end_is_committed,
);

async fn a_full_queue_refuses_at_once(test: TestStore) {
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

async fn a_queue_is_bounded_by_bytes_too(test: TestStore) {
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

async fn what_is_queued_at_the_end_is_committed(test: TestStore) {
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

/// How many commits requests of these sizes take that wait while another one commits.
async fn commits_of(limits: SequencerLimits, games: &[usize]) -> usize {
    let test = TestStore::sqlite().await;
    let (store, shared) = faulty(&test, &[]);
    let running = start_with(&shared, Setup { limits, ..Setup::default() }).await;
    store.hold_commits();
    let first = running.submit(id(0), grant("c", &["g"], Refuse));
    store.commit_is_held().await;
    let mut waiting = Vec::new();
    for (number, games) in (1..).zip(games) {
        let games: Vec<String> = (0..*games).map(|game| format!("game-{game}")).collect();
        let games: Vec<&str> = games.iter().map(String::as_str).collect();
        waiting.push(running.submit(id(number), grant(&format!("c{number}"), &games, Refuse)));
        until(|| running.handle.waiting() == waiting.len()).await;
    }
    (0..=games.len()).for_each(|_| store.release_commit());
    for request in [first].into_iter().chain(waiting) {
        request.await.unwrap().unwrap();
    }
    assert_eq!(running.hub.head(), 1 + games.len() as u64);
    running.stop().await.unwrap();
    store.commits() - 1
}

#[tokio::test]
async fn a_batch_is_bounded_by_count() {
    let limits = SequencerLimits { batch_requests: 3, ..LIMITS };
    assert_eq!(commits_of(limits, &[1; 7]).await, 3);
    assert_eq!(commits_of(LIMITS, &[1; 7]).await, 1);
}

#[tokio::test]
async fn a_batch_is_bounded_by_bytes_and_a_larger_request_is_alone() {
    let limits = SequencerLimits { batch_bytes: 10_000, ..LIMITS };
    assert_eq!(commits_of(limits, &[1; 7]).await, 1);
    assert_eq!(commits_of(limits, &[1, 1, 500, 1, 1]).await, 3);
    assert_eq!(commits_of(limits, &[500, 500, 1]).await, 3);
}
