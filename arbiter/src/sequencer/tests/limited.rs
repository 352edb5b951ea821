//! Limited editions, reservations, and what ends by itself.

use super::harness::*;
use crate::domain::{Change, Commit, Reservation, ReservationStatus};
use crate::watch::{Event, Part, Start as WatchStart, Subscription};

on_both_stores!(
    the_last_copy_is_sold_once_whatever_races,
    expiry_is_a_commit_like_any_other,
    what_became_due_while_nothing_ran_ends_at_the_start,
    more_than_a_batch_may_become_due_at_once,
);

async fn the_last_copy_is_sold_once_whatever_races(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1_000), set_stock("g", 10)).await.unwrap();
    let asked = (0..64_u64).map(|number| {
        let customer = format!("c{number}");
        let command =
            if number % 2 == 0 { grant(&customer, &["g"], Refuse) } else { reserve(&customer, "g", 60_000) };
        running.submit(id(number), command)
    });
    let mut accepted = Vec::new();
    for (number, request) in (0..).zip(asked.collect::<Vec<_>>()) {
        match request.await.unwrap().unwrap().outcome.verdict {
            Verdict::Accepted { .. } => accepted.push(number),
            Verdict::Refused { items } => assert_eq!(items, [(0, RefusalKind::OutOfStock)]),
        }
    }
    assert_eq!(accepted.len(), 10);
    let stock = &test.store.stocks().await.unwrap()[0];
    let reserved: Vec<_> = accepted.iter().copied().filter(|number| number % 2 == 1).collect();
    assert_eq!((stock.sold + stock.reserved, stock.reserved), (10, reserved.len() as u64));
    let confirmed = reserved.iter().map(|number| {
        let confirm = Operation::Confirm { reservation_id: id(*number) };
        running.submit(id(2_000 + number), command(vec![confirm]))
    });
    for request in confirmed.collect::<Vec<_>>() {
        assert!(matches!(request.await.unwrap().unwrap().outcome.verdict, Verdict::Accepted { .. }));
    }
    let owned = test.store.snapshot(running.hub.head(), None, 100).await.unwrap();
    assert_eq!((owned.len(), test.store.stocks().await.unwrap()[0].sold), (10, 10));
    running.stop().await.unwrap();
}

async fn expiry_is_a_commit_like_any_other(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let mut events = running.watches.open(Subscription::to_all(WatchStart::After(0))).unwrap();
    let due_ms = clock.now_ms() + 1_000;
    running.ask(id(1), set_stock("g", 2)).await.unwrap();
    running.ask(id(2), grant_until("c", "g", due_ms)).await.unwrap();
    running.ask(id(3), reserve("d", "g", 1_000)).await.unwrap();
    clock.advance(1_000);
    // Nobody asks for anything: it happens by itself.
    until(|| running.hub.head() == 5).await;
    let mut seen: Vec<Commit> = Vec::new();
    while seen.len() < 5 {
        if let Event::Commits(parts) = events.next().await.unwrap().unwrap() {
            seen.extend(parts.iter().flat_map(Part::commits).map(|commit| (**commit).clone()));
        }
    }
    assert_eq!(seen, test.store.log(0, 100).await.unwrap(), "Watch shows what the log holds");
    let ended = [&seen[3], &seen[4]];
    assert!(ended.iter().all(|commit| commit.cause.reason == Reason::Expiry));
    assert_eq!(ended.map(|commit| commit.committed_at_ms), [due_ms; 2]);
    let released = Change::Released { key: key("d", "g"), reservation_id: id(3) };
    let revoked = Change::Revoked { key: key("c", "g"), valid_from: 2, ends_at_ms: Some(due_ms) };
    assert_eq!(ended.map(|commit| &commit.changes[0]), [&revoked, &released]);
    let stock = test.store.stocks().await.unwrap();
    assert_eq!((stock[0].sold, stock[0].reserved), (0, 0));
    let reservation: Reservation = test.store.reservations(&[id(3)], &[]).await.unwrap().remove(0);
    assert_eq!((reservation.status, reservation.changed_at), (ReservationStatus::Expired, 5));
    running.stop().await.unwrap();
}

async fn what_became_due_while_nothing_ran_ends_at_the_start(mut test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    running.ask(id(1), grant_until("c", "g", clock.now_ms() + 1_000)).await.unwrap();
    running.stop().await.unwrap();
    test.reopen().await;
    clock.advance(1_000);
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    until(|| running.hub.head() == 2).await;
    assert_eq!(running.ask(id(2), grant("c", &["g"], Refuse)).await, accepted(3, &[true], false));
    running.stop().await.unwrap();
}

async fn more_than_a_batch_may_become_due_at_once(test: TestStore) {
    let clock = TestClock::new();
    let limits = SequencerLimits { batch_requests: 3, ..LIMITS };
    let running = start_with(&test.store, Setup { limits, ..Setup::with_clock(&clock) }).await;
    for number in 0..10 {
        let ends_at_ms = clock.now_ms() + 1_000 + number;
        running.ask(id(number), grant_until(&format!("c{number}"), "g", ends_at_ms)).await.unwrap();
    }
    clock.advance(2_000);
    until(|| running.hub.head() == 20).await;
    assert_eq!(test.store.snapshot(20, None, 100).await.unwrap(), []);
    let log = test.store.log(0, 100).await.unwrap();
    assert!(log.iter().map(|commit| commit.revision).eq(1..=20));
    running.stop().await.unwrap();
}
