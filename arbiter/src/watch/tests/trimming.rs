//! What leaves the log, when, and who hears of it before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Filter, Poll, PollFrom, TrimLimits, WatchLimits};
use super::world::{World, key};
use super::{Event, LIMITS, Start, Subscription, WatchError, next, read_to};
use crate::domain::Revision;
use crate::store::SharedStore;
use crate::store::faulty::FaultyStore;
use crate::store::testing::{TestStore, on_both_stores};

on_both_stores!(
    commits_leave_the_log_by_age_and_the_history_stays,
    commits_leave_the_log_by_size,
    a_reader_from_before_is_told_where_to_begin_also_after_a_restart,
    every_stream_is_told_before_history_is_trimmed,
    the_log_after_a_snapshot_is_kept_while_it_is_read,
    nobody_begins_where_the_log_is_about_to_end,
    a_snapshot_that_takes_too_long_ends,
    earliest_is_the_oldest_commit_that_is_kept,
    what_others_asked_for_is_kept,
    only_the_leader_trims,
    a_gap_in_the_log_is_never_skipped,
);

/// A world with this many commits of one change each, none of which is in memory.
async fn world(test: TestStore, commits: u64) -> World {
    let mut world = World::new(test, 0, LIMITS).await;
    for number in 0..commits {
        world.commit(&[&[(number % 3, number)]]).await;
    }
    world
}

async fn log_from(world: &World) -> Revision {
    world.test.store.log(0, 1).await.unwrap().first().map_or(Revision::MAX, |commit| commit.revision)
}

fn after(revision: Revision) -> Subscription {
    Subscription::to_all(Start::After(revision))
}

async fn commits_leave_the_log_by_age_and_the_history_stays(test: TestStore) {
    let world = world(test, 20).await;
    // A commit's time is its revision, and the clock stands at the last one.
    world.trim_to(5).await;
    assert_eq!((world.hub.mark(), log_from(&world).await), (14, 15), "commits from before 15 are older");
    assert_eq!(world.test.store.log_mark().await.unwrap(), 14);
    let shown = world.test.store.snapshot(3, None, 100).await.unwrap();
    assert_eq!(shown.len(), world.owned_at(3, &Filter::default()).len(), "what was owned is known for ever");
    world.trim_to(10).await;
    assert_eq!(world.hub.mark(), 14, "the mark never goes back");
}

async fn commits_leave_the_log_by_size(test: TestStore) {
    let world = world(test, 20).await;
    let rows = world.test.store.log_rows(0, 100).await.unwrap();
    let newest: u64 = rows.iter().rev().take(4).map(|row| row.bytes).sum();
    world.trim(TrimLimits { retention_ms: u64::MAX, retention_bytes: newest, interval_ms: 1 }).await;
    assert_eq!((world.hub.mark(), log_from(&world).await), (16, 17), "so many bytes, and no more, are kept");
}

async fn a_reader_from_before_is_told_where_to_begin_also_after_a_restart(test: TestStore) {
    let mut world = world(test, 20).await;
    world.trim_to(5).await;
    for _ in 0..2 {
        for begin in [Start::After(13), Start::Snapshot { as_of: Some(13) }] {
            let error = world.watches.open(Subscription::to_all(begin)).unwrap_err();
            assert!(matches!(error, WatchError::Compacted { after: 13, oldest: 14 }), "{error}");
            let poll = Poll { from: PollFrom::Start(begin), ..Poll::of(Filter::default()) };
            let error = world.watches.poll(poll).await.unwrap_err();
            assert!(matches!(error, WatchError::Compacted { after: 13, oldest: 14 }), "{error}");
        }
        let mut stream = world.watches.open(after(14)).unwrap();
        assert!(read_to(&mut stream, 20).await.iter().map(|commit| commit.revision).eq(15..=20));
        drop(stream);
        world.restart().await;
    }
}

async fn every_stream_is_told_before_history_is_trimmed(test: TestStore) {
    let limits = WatchLimits { bookmark_interval_ms: 300, ..LIMITS };
    let mut world = World::new(test, 1 << 20, limits).await;
    // This stream has nothing to tell of but how far it came.
    let filter = Filter { customers: [key(1_000, 0).0].into(), ..Filter::default() };
    let mut stream = world.watches.open(Subscription { filter, ..after(0) }).unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let reading = tokio::spawn({
        let told = Arc::clone(&told);
        async move {
            while let Some(Ok(Event::Bookmark { revision })) = stream.next().await {
                told.store(revision, Ordering::SeqCst);
            }
        }
    });
    for number in 0..20 {
        world.commit(&[&[(1, number)]]).await;
    }
    world.trim_to(5).await;
    let told = told.load(Ordering::SeqCst);
    assert!(told >= world.hub.mark(), "told of {told} when the log began after {}", world.hub.mark());
    assert_eq!(world.hub.mark(), 14);
    reading.abort();
}

/// Polls once from a place on.
async fn poll(world: &World, from: PollFrom) -> Result<super::super::poll::Polled, WatchError> {
    world.watches.poll(Poll { from, ..Poll::of(Filter::default()) }).await
}

async fn the_log_after_a_snapshot_is_kept_while_it_is_read(test: TestStore) {
    let mut world = world(test, 20).await;
    let snapshot = Start::Snapshot { as_of: None };
    let mut stream = world.watches.open(Subscription::to_all(snapshot)).unwrap();
    assert!(matches!(next(&mut stream).await, Ok(Event::SnapshotChunk { revision: 20, .. })));
    let mut polled = poll(&world, PollFrom::Start(snapshot)).await.unwrap();
    for number in 20..40 {
        world.commit(&[&[(1, number)]]).await;
    }
    world.trim_to(0).await;
    assert_eq!(world.hub.mark(), 20, "as far as the snapshot allows");
    assert!(read_to(&mut stream, 40).await.iter().map(|commit| commit.revision).eq(21..=40));
    loop {
        polled = poll(&world, PollFrom::Position(polled.position)).await.unwrap();
        match &polled.events[..] {
            [Event::Commits(parts)] => {
                assert_eq!(super::commits(parts).next().unwrap().revision, 21);
                break;
            }
            events => assert!(matches!(events[0], Event::SnapshotChunk { revision: 20, .. })),
        }
    }
}

async fn nobody_begins_where_the_log_is_about_to_end(mut test: TestStore) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&test.store), &[]));
    test.store = Arc::clone(&store) as SharedStore;
    let world = world(test, 20).await;
    let at = |revision| Subscription::to_all(Start::Snapshot { as_of: Some(revision) });
    store.hold_log_mark();
    let begin_early = async {
        // Rows are being carried over: nothing is decided yet.
        store.log_mark_is_held().await;
        let snapshot = world.watches.open(at(5));
        store.release_log_mark();
        snapshot.unwrap()
    };
    let ((), snapshot) = tokio::join!(world.trim_to(5), begin_early);
    assert_eq!(world.hub.mark(), 0, "what a snapshot needs is kept from when it begins");
    drop(snapshot);

    let begin_late = async {
        store.log_mark_is_held().await;
        store.release_log_mark();
        // The mark is being raised.
        store.log_mark_is_held().await;
        let late = [at(5), after(13)].map(|begin| world.watches.open(begin).unwrap_err());
        let polled = poll(&world, PollFrom::Start(Start::Snapshot { as_of: Some(5) })).await.unwrap_err();
        let stream = world.watches.open(after(14));
        store.release_log_mark();
        (late.into_iter().chain([polled]), stream.unwrap())
    };
    let ((), (refused, mut stream)) = tokio::join!(world.trim_to(5), begin_late);
    for error in refused {
        assert!(matches!(error, WatchError::Compacted { oldest: 14, .. }), "{error}");
    }
    assert_eq!(world.hub.mark(), 14);
    assert!(read_to(&mut stream, 20).await.iter().map(|commit| commit.revision).eq(15..=20));
}

async fn a_snapshot_that_takes_too_long_ends(test: TestStore) {
    let mut world = world(test, 20).await;
    world.limits.snapshot_hold_max_ms = 0;
    world.restart().await;
    let snapshot = Start::Snapshot { as_of: None };
    let mut stream = world.watches.open(Subscription::to_all(snapshot)).unwrap();
    next(&mut stream).await.unwrap();
    let polled = poll(&world, PollFrom::Start(snapshot)).await.unwrap();
    for number in 20..40 {
        world.commit(&[&[(1, number)]]).await;
    }
    world.trim_to(5).await;
    let error = next(&mut stream).await.unwrap_err();
    assert!(matches!(error, WatchError::Compacted { after: 20, oldest: 34 }), "{error}");
    let error = poll(&world, PollFrom::Position(polled.position)).await.unwrap_err();
    assert!(matches!(error, WatchError::Compacted { after: 20, oldest: 34 }), "{error}");
}

async fn earliest_is_the_oldest_commit_that_is_kept(test: TestStore) {
    let world = world(test, 20).await;
    // It stands before the oldest commit, which is trimmed before it is read.
    let mut stream = world.watches.open(Subscription::to_all(Start::Earliest)).unwrap();
    let polled = poll(&world, PollFrom::Start(Start::Earliest)).await.unwrap();
    assert!(matches!(&polled.events[..], [Event::Commits(parts)] if parts[0].commits()[0].revision == 1));
    world.test.store.raise_log_mark(world.leader_id, 14).await.unwrap();
    world.hub.raise_mark(14);
    world.trim_to(100).await;
    assert!(read_to(&mut stream, 20).await.iter().map(|commit| commit.revision).eq(15..=20));
}

async fn what_others_asked_for_is_kept(test: TestStore) {
    let world = world(test, 20).await;
    world.hub.keep_after(7);
    world.trim_to(0).await;
    assert_eq!((world.hub.mark(), log_from(&world).await), (7, 8));
    world.hub.keep_after(9);
    world.trim_to(0).await;
    assert_eq!((world.hub.mark(), log_from(&world).await), (9, 10));
}

async fn only_the_leader_trims(test: TestStore) {
    let world = world(test, 20).await;
    world.test.lead().await;
    world.trim_to(0).await;
    assert_eq!((world.test.store.log_mark().await.unwrap(), log_from(&world).await), (0, 1));
}

async fn a_gap_in_the_log_is_never_skipped(test: TestStore) {
    let world = world(test, 20).await;
    let mut stream = world.watches.open(after(0)).unwrap();
    // Somebody else trimmed it.
    assert!(world.test.store.raise_log_mark(world.leader_id, 14).await.unwrap());
    assert_eq!(world.test.store.trim_log(100).await.unwrap(), 14);
    let error = next(&mut stream).await.unwrap_err();
    assert!(matches!(error, WatchError::Compacted { after: 0, oldest: 14 }), "{error}");
}
