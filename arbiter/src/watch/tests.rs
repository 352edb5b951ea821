//! What Watch guarantees, on both stores.

use std::sync::Arc;
use std::time::Duration;

use mesh::environment::{Random, SystemRandom};
use tokio_util::sync::CancellationToken;

use super::stream::EventReceiver;
use super::{Event, Hub, Start, WatchError, WatchLimits, Watches};
use crate::domain::{Cause, Change, Commit, Effects, Entitlement, Key, Reason, RequestId, Revision};
use crate::store::testing::{TestStore, on_both_stores};
use crate::store::{Batch, Head};

on_both_stores!(
    ordered_unique_and_reliable,
    atomic,
    resumable_from_any_revision,
    bookmarkable,
    a_snapshot_is_whole_and_the_tail_follows_it,
    a_reader_behind_the_memory_reads_the_log,
);

const LIMITS: WatchLimits = WatchLimits {
    watchers: 2,
    message_bytes: 500,
    snapshot_chunk: 3,
    queue_messages: 2,
    slow_reader_timeout_ms: 60_000,
    bookmark_interval_ms: 20,
};

/// A store that commits and publishes as the sequencer does.
struct Fixture {
    test: TestStore,
    head: Head,
    hub: Arc<Hub>,
    watches: Watches,
    draining: CancellationToken,
}

impl Fixture {
    async fn new(test: TestStore, memory_bytes: usize) -> Self {
        Self::with_limits(test, memory_bytes, LIMITS).await
    }

    async fn with_limits(test: TestStore, memory_bytes: usize, limits: WatchLimits) -> Self {
        let (_, head) = test.lead().await;
        let hub = Arc::new(Hub::new(0, memory_bytes));
        let draining = CancellationToken::new();
        let watches = Watches::new(Arc::clone(&test.store), Arc::clone(&hub), limits, draining.clone());
        Self { test, head, hub, watches, draining }
    }

    /// Commits one batch with these numbers of changes.
    async fn commit(&mut self, sizes: &[usize]) {
        let mut effects = Effects::default();
        let mut commits = Vec::new();
        for size in sizes {
            let revision = self.head.revision + 1 + commits.len() as u64;
            let commit = commit(revision, *size);
            effects.inserted.extend(commit.changes.iter().map(|change| granted(&commit, change)));
            commits.push(commit);
        }
        let batch = Batch { effects, commits, ..Batch::default() };
        self.test.store.commit(&self.head, &batch).await.unwrap();
        self.head.revision = batch.commits.last().map_or(self.head.revision, |commit| commit.revision);
        self.hub.publish(batch.commits);
    }
}

/// What a change of a commit leaves.
fn granted(commit: &Commit, change: &Change) -> Arc<Entitlement> {
    let Change::Granted { key, .. } = change else { panic!("only grants are committed here") };
    Arc::new(Entitlement {
        customer_id: key.0.clone(),
        game_id: key.1.clone(),
        valid_from: commit.revision,
        granted_at_ms: commit.committed_at_ms,
        cause: Arc::clone(&commit.cause),
        ends_at_ms: None,
        from_stock: false,
    })
}

fn commit(revision: Revision, size: usize) -> Commit {
    let change = |number| {
        let customer_id = format!("customer-{}", revision % 5).parse().unwrap();
        let key = (customer_id, format!("game-{revision}-{number}").parse().unwrap());
        Change::Granted { key, ends_at_ms: None, reservation_id: None }
    };
    Commit {
        revision,
        request_id: RequestId::new_v7(revision, [1; 10]),
        committed_at_ms: revision,
        cause: Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() }),
        changes: (0..size).map(change).collect(),
        traceparent: String::new(),
    }
}

/// Reads commits until one has this revision.
async fn read_to(events: &mut EventReceiver, revision: Revision) -> Vec<Arc<Commit>> {
    let mut read: Vec<Arc<Commit>> = Vec::new();
    while read.last().is_none_or(|commit| commit.revision < revision) {
        match events.next().await.expect("the stream goes on").expect("no error") {
            Event::Commits(commits) => read.extend(commits),
            Event::Bookmark { revision: bookmark } => {
                let reached = read.last().map(|commit| commit.revision);
                assert!(reached.is_none_or(|reached| bookmark <= reached), "a bookmark never runs ahead");
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    read
}

async fn ordered_unique_and_reliable(test: TestStore) {
    let mut fixture = Fixture::new(test, 1_000).await;
    let mut events = fixture.watches.open(Start::After(0)).unwrap();
    let reading = tokio::spawn(async move { read_to(&mut events, 300).await });
    while fixture.head.revision < 300 {
        let left = usize::try_from(300 - fixture.head.revision).unwrap();
        let commits = (1 + usize::try_from(SystemRandom.below(9)).unwrap()).min(left);
        fixture.commit(&vec![1; commits]).await;
    }
    let revisions: Vec<_> = reading.await.unwrap().iter().map(|commit| commit.revision).collect();
    assert_eq!(revisions, (1..=300).collect::<Vec<_>>());
}

async fn atomic(test: TestStore) {
    let mut fixture = Fixture::new(test, 1 << 20).await;
    // One commit is far larger than a message should be: it is sent whole all the same.
    fixture.commit(&[1, 100, 1]).await;
    let mut events = fixture.watches.open(Start::After(0)).unwrap();
    let read = read_to(&mut events, 3).await;
    let sizes: Vec<_> = read.iter().map(|commit| commit.changes.len()).collect();
    assert_eq!(sizes, [1, 100, 1]);
}

async fn resumable_from_any_revision(test: TestStore) {
    let mut fixture = Fixture::new(test, 1_000).await;
    for _ in 0..10 {
        fixture.commit(&[1, 1, 1]).await;
    }
    for after in 0..30 {
        let mut events = fixture.watches.open(Start::After(after)).unwrap();
        let revisions: Vec<_> = read_to(&mut events, 30).await.iter().map(|commit| commit.revision).collect();
        assert_eq!(revisions, (after + 1..=30).collect::<Vec<_>>());
        drop(events);
        wait_for_slots(&fixture).await;
    }
}

/// A stream's slot is free once its task has noticed that the reader is gone.
async fn wait_for_slots(fixture: &Fixture) {
    while fixture.watches.open_slots() < LIMITS.watchers {
        tokio::task::yield_now().await;
    }
}

async fn bookmarkable(test: TestStore) {
    let mut fixture = Fixture::new(test, 1 << 20).await;
    let mut events = fixture.watches.open(Start::After(0)).unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), Event::Bookmark { revision: 0 });
    fixture.commit(&[1, 1]).await;
    read_to(&mut events, 2).await;
    for _ in 0..3 {
        assert_eq!(events.next().await.unwrap().unwrap(), Event::Bookmark { revision: 2 });
    }
}

async fn a_snapshot_is_whole_and_the_tail_follows_it(test: TestStore) {
    let mut fixture = Fixture::new(test, 1 << 20).await;
    for _ in 0..5 {
        fixture.commit(&[1, 2, 3]).await;
    }
    let mut events = fixture.watches.open(Start::Snapshot).unwrap();
    // What is committed while the snapshot is read comes after it, and is not in it.
    fixture.commit(&[4]).await;
    let mut keys: Vec<Key> = Vec::new();
    let revision = loop {
        match events.next().await.unwrap().unwrap() {
            Event::SnapshotChunk { revision, entitlements } => {
                assert!(entitlements.iter().all(|one| one.valid_from <= revision));
                keys.extend(entitlements.into_iter().map(|one| (one.customer_id, one.game_id)));
            }
            Event::SnapshotEnd { revision } => break revision,
            other => panic!("unexpected {other:?}"),
        }
    };
    let expected: usize = if revision == 15 { 30 } else { 34 };
    assert_eq!(keys.len(), expected, "at revision {revision}");
    assert!(keys.is_sorted(), "by customer and game, each once");
    fixture.commit(&[1]).await;
    let read = read_to(&mut events, 17).await;
    assert!(read.iter().map(|commit| commit.revision).eq(revision + 1..=17));
}

async fn a_reader_behind_the_memory_reads_the_log(test: TestStore) {
    // No commit stays in memory, so that every one comes from the store.
    let mut fixture = Fixture::new(test, 0).await;
    let mut events = fixture.watches.open(Start::After(0)).unwrap();
    for _ in 0..20 {
        fixture.commit(&[1, 1, 1]).await;
    }
    let read = read_to(&mut events, 60).await;
    assert!(read.iter().map(|commit| commit.revision).eq(1..=60));
    assert_eq!(*read[30], commit(31, 1), "with all that it holds");
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_can_resume() {
    let limits = WatchLimits { slow_reader_timeout_ms: 200, ..LIMITS };
    let mut fixture = Fixture::with_limits(TestStore::sqlite().await, 1 << 20, limits).await;
    let mut events = fixture.watches.open(Start::After(0)).unwrap();
    for _ in 0..20 {
        fixture.commit(&[10]).await;
    }
    // The reader takes nothing: its queue fills, and after the time-out the stream's task ends and frees its slot.
    wait_for_slots(&fixture).await;
    let mut reached = 0;
    let error = loop {
        match events.next().await.expect("the end is told") {
            Ok(Event::Commits(commits)) => reached = commits.last().unwrap().revision,
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WatchError::SlowReader { limit_ms: 200 }), "{error}");
    assert!((1..20).contains(&reached), "only what fitted the queue came before: {reached}");
    assert!(events.next().await.is_none());
    let mut events = fixture.watches.open(Start::After(reached)).unwrap();
    let read = read_to(&mut events, 20).await;
    assert!(read.iter().map(|commit| commit.revision).eq(reached + 1..=20));
}

#[tokio::test]
async fn as_many_streams_as_configured_and_no_more() {
    let fixture = Fixture::new(TestStore::sqlite().await, 0).await;
    let _open =
        [fixture.watches.open(Start::Snapshot).unwrap(), fixture.watches.open(Start::Snapshot).unwrap()];
    assert!(matches!(fixture.watches.open(Start::Snapshot), Err(WatchError::TooMany { limit: 2 })));
}

#[tokio::test]
async fn a_drain_ends_every_stream_and_says_why() {
    let fixture = Fixture::new(TestStore::sqlite().await, 0).await;
    let mut events = fixture.watches.open(Start::After(0)).unwrap();
    fixture.draining.cancel();
    let end = async {
        loop {
            if let Err(error) = events.next().await.expect("the end is told") {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), end).await.expect("the stream ends");
    assert!(matches!(error, WatchError::Draining));
}
