//! What is limited: streams, messages, patience.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{Filter, Poll, PollFrom};
use super::world::World;
use super::{Event, LIMITS, PATIENCE, Start, Subscription, WatchError, WatchLimits, next, read_to};
use crate::store::testing::{TestStore, on_both_stores};

on_both_stores!(a_message_is_bounded_and_a_larger_commit_goes_alone,);

/// All commits from the first one on.
fn all() -> Subscription {
    Subscription::to_all(Start::After(0))
}

async fn a_message_is_bounded_and_a_larger_commit_goes_alone(test: TestStore) {
    let mut world = World::new(test, 1 << 20, LIMITS).await;
    let large: Vec<(u64, u64)> = (0..20).map(|game| (1, game)).collect();
    world.commit(&[&[(2, 1)], &large, &[(3, 1)], &[(4, 1)]]).await;
    for _ in 0..20 {
        world.commit(&[&[(2, 2)]]).await;
    }
    // From memory, and then from the log.
    for _ in 0..2 {
        let mut stream = world.watches.open(all()).unwrap();
        let mut reached = 0;
        while reached < 24 {
            let Event::Commits(parts) = next(&mut stream).await.unwrap() else { continue };
            let commits: Vec<_> = super::commits(&parts).collect();
            let bytes: usize = commits.iter().map(crate::domain::Commit::bytes).sum();
            assert!(bytes <= LIMITS.message_bytes || commits.len() == 1, "{bytes} bytes");
            reached += commits.len();
        }
        drop(stream);
        world.restart().await;
    }
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_can_resume() {
    let limits = WatchLimits { slow_reader_timeout_ms: 50, ..LIMITS };
    let mut world = World::new(TestStore::sqlite().await, 1 << 20, limits).await;
    let mut stream = world.watches.open(all()).unwrap();
    for _ in 0..20 {
        world.commit(&[&[(1, 1), (1, 2), (2, 3)]]).await;
    }
    let Event::Commits(parts) = next(&mut stream).await.unwrap() else { panic!("commits come first") };
    let reached = parts.last().unwrap().last();
    assert!(reached < 20, "one message does not hold everything");
    // The reader takes nothing more: after the time its slot is another one's, though it is still connected.
    let begin = Instant::now();
    while world.watches.open_slots() < limits.watchers {
        assert!(begin.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let error = next(&mut stream).await.unwrap_err();
    assert!(matches!(error, WatchError::SlowReader { limit_ms: 50 }), "{error}");
    assert!(stream.next().await.is_none(), "that is the end");
    let mut stream = world.watches.open(Subscription::to_all(Start::After(reached))).unwrap();
    let read = read_to(&mut stream, 20).await;
    assert!(read.iter().map(|commit| commit.revision).eq(reached + 1..=20));
}

#[tokio::test]
async fn a_reader_that_waits_for_commits_is_not_slow() {
    let limits = WatchLimits { slow_reader_timeout_ms: 20, bookmark_interval_ms: 200, ..LIMITS };
    let world = World::new(TestStore::sqlite().await, 1 << 20, limits).await;
    let mut stream = world.watches.open(all()).unwrap();
    for _ in 0..2 {
        assert!(matches!(next(&mut stream).await, Ok(Event::Bookmark { revision: 0 })));
    }
}

#[tokio::test]
async fn as_many_streams_as_configured_and_no_more() {
    let world = World::new(TestStore::sqlite().await, 0, LIMITS).await;
    let first = world.watches.open(all()).unwrap();
    let _second = world.watches.open(all()).unwrap();
    assert!(matches!(world.watches.open(all()), Err(WatchError::TooMany { limit: 2 })));
    let poll = world.watches.poll(Poll::of(Filter::default())).await;
    assert!(matches!(poll, Err(WatchError::TooMany { limit: 2 })));
    drop(first);
    world.watches.poll(Poll::of(Filter::default())).await.unwrap();
    assert!(world.watches.open(all()).is_ok(), "one that ended makes room");
}

#[tokio::test]
async fn a_drain_ends_every_stream_and_poll_and_says_why() {
    let world = World::new(TestStore::sqlite().await, 0, LIMITS).await;
    let mut stream = world.watches.open(all()).unwrap();
    let watches = world.watches.clone();
    let from = PollFrom::Start(Start::After(0));
    let poll = Poll { from, wait: PATIENCE, ..Poll::of(Filter::default()) };
    let polling = tokio::spawn(async move { watches.poll(poll).await });
    while world.watches.open_slots() > 0 {
        tokio::task::yield_now().await;
    }
    world.draining.cancel();
    assert!(matches!(next(&mut stream).await, Err(WatchError::Draining)));
    assert!(matches!(polling.await.unwrap(), Err(WatchError::Draining)));
}

#[tokio::test]
async fn a_poll_waits_for_a_commit_and_no_longer_than_asked() {
    let mut world = World::new(TestStore::sqlite().await, 1 << 20, LIMITS).await;
    let poll = |wait| Poll { from: PollFrom::Start(Start::After(0)), wait, ..Poll::of(Filter::default()) };
    let polled = world.watches.poll(poll(Duration::from_millis(5))).await.unwrap();
    assert!(matches!(polled.events[..], [Event::Bookmark { revision: 0 }]), "how far it came");
    let watches = world.watches.clone();
    let long = poll(PATIENCE * 2);
    let polling = tokio::spawn(async move { watches.poll(long).await });
    while world.watches.open_slots() == LIMITS.watchers {
        tokio::task::yield_now().await;
    }
    world.commit(&[&[(1, 1)]]).await;
    let polled = tokio::time::timeout(PATIENCE, polling).await.unwrap().unwrap().unwrap();
    assert!(matches!(polled.events[..], [Event::Commits(_)]), "as soon as there is something to tell");
}
