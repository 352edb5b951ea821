//! What a filter lets through.

use std::sync::Arc;

use super::super::{Filter, Hub};
use super::world::{World, key};
use super::{Event, LIMITS, Start, Subscription, next};
use crate::domain::{Cause, Change, Commit, CustomerId, Reason, RequestId};
use crate::store::testing::{TestStore, on_both_stores};

on_both_stores!(a_commit_shows_only_what_concerns_the_reader, a_snapshot_holds_only_what_concerns_the_reader,);

fn customers(numbers: &[u64]) -> Filter {
    Filter { customers: numbers.iter().map(|number| key(*number, 0).0).collect(), ..Filter::default() }
}

async fn a_commit_shows_only_what_concerns_the_reader(test: TestStore) {
    let mut world = World::new(test, 1 << 20, LIMITS).await;
    let subscription = Subscription { filter: customers(&[1]), ..Subscription::to_all(Start::After(0)) };
    let mut stream = world.watches.open(subscription).unwrap();
    world.commit(&[&[(2, 1)], &[(1, 1), (2, 2), (1, 3)], &[(3, 3)]]).await;
    let Event::Commits(parts) = next(&mut stream).await.unwrap() else { panic!("commits come first") };
    let told: Vec<Commit> = super::commits(&parts).collect();
    let keys: Vec<_> = told[0].changes.iter().map(|change| change.game_id().as_str()).collect();
    assert_eq!((told.len(), told[0].revision, keys), (1, 2, vec!["game-1", "game-3"]));
    loop {
        // What does not concern the reader moves it on all the same.
        if let Event::Bookmark { revision: 3 } = next(&mut stream).await.unwrap() {
            break;
        }
    }
}

async fn a_snapshot_holds_only_what_concerns_the_reader(test: TestStore) {
    let mut world = World::new(test, 1 << 20, LIMITS).await;
    for number in 0..40 {
        world.commit(&[&[(number % 8, number)]]).await;
    }
    let partition = gameshelf::digest::partition(key(2, 0).0.as_str());
    let games = [key(0, 2).1, key(0, 11).1, key(0, 27).1];
    for filter in [
        customers(&[5, 1, 900]),
        Filter { partitions: [partition].into(), ..Filter::default() },
        Filter { games: games.clone().into(), ..Filter::default() },
        Filter { games: games.into(), ..customers(&[3, 2]) },
    ] {
        let start = Start::Snapshot { as_of: Some(30) };
        let subscription = Subscription { filter: filter.clone(), ..Subscription::to_all(start) };
        let mut stream = world.watches.open(subscription).unwrap();
        let mut seen = Vec::new();
        loop {
            match next(&mut stream).await.unwrap() {
                Event::SnapshotChunk { entitlements, .. } => {
                    assert!(entitlements.len() <= LIMITS.snapshot_chunk as usize);
                    seen.extend(entitlements.into_iter().map(|one| (one.key(), one.valid_from)));
                }
                Event::SnapshotEnd { revision } => break assert_eq!(revision, 30),
                other => panic!("unexpected {other:?}"),
            }
        }
        assert!(seen.iter().cloned().eq(world.owned_at(30, &filter)), "{filter:?}: {seen:?}");
    }
}

#[test]
fn a_stock_concerns_those_who_watch_its_game_and_no_customer() {
    let change = Change::StockSet { game_id: "g".parse().unwrap(), total: 3 };
    let commit = commit(1, vec![change]);
    let told = |filter: Filter| {
        let batch = super::super::batch::Batch::new(vec![Arc::new(commit.clone())]).unwrap();
        !filter.narrow(batch.after(0, usize::MAX).into_iter().collect()).is_empty()
    };
    assert!(told(Filter::default()));
    assert!(told(Filter { games: ["g".parse().unwrap()].into(), ..Filter::default() }));
    assert!(!told(Filter { games: ["h".parse().unwrap()].into(), ..Filter::default() }));
    assert!(!told(customers(&[1])));
    assert!(!told(Filter { partitions: (0..=255).collect(), ..Filter::default() }));
}

#[test]
fn a_reader_of_few_customers_is_woken_only_by_what_concerns_it() {
    let hub = Hub::new(0, 1 << 20);
    let mine: CustomerId = "mine".parse().unwrap();
    let reader = hub.register([mine.clone()].into_iter(), 0);
    hub.has_read(&reader, 1);
    let grant = |revision, customer: &str| {
        let key = (customer.parse().unwrap(), "g".parse().unwrap());
        commit(revision, vec![Change::Granted { key, ends_at_ms: None, reservation_id: None }])
    };
    hub.publish(vec![grant(1, "another"), grant(2, "another")]);
    assert_eq!(hub.unread(&reader), (2, None), "it need not look");
    hub.publish(vec![grant(3, "another"), grant(4, "mine"), grant(5, "mine")]);
    assert_eq!(hub.unread(&reader), (5, Some(4)), "from there on it has to look");
    hub.has_read(&reader, 4);
    assert_eq!(hub.unread(&reader), (5, Some(5)));
    hub.has_read(&reader, 5);
    assert_eq!(hub.unread(&reader), (5, None));
    hub.advance(9);
    assert_eq!(hub.unread(&reader), (9, Some(6)), "what is only in the log may concern it");
    hub.forget(&reader);
    hub.publish(vec![grant(10, "mine")]);
    assert_eq!(Arc::strong_count(&reader), 1, "nothing of it is left");
}

fn commit(revision: u64, changes: Vec<Change>) -> Commit {
    let cause = Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() });
    let request_id = RequestId::new_v7(revision, [1; 10]);
    Commit { revision, request_id, committed_at_ms: 0, cause, changes, traceparent: String::new() }
}
