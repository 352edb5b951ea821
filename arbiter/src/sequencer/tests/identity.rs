//! What a request id is good for, and for how long.

use std::cell::Cell;
use std::iter;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::harness::*;
use crate::domain::Reservation;
use crate::store::{Batch, StoredRequest};

on_both_stores!(
    an_expired_v7_id_is_refused,
    an_id_from_ahead_is_bad,
    exactly_one_effect_per_request_id_whatever_races,
    reuse_is_refused_whatever_became_of_the_first,
    never_a_second_effect_after_trimming,
    an_id_without_a_time_is_known_for_the_retention,
    an_open_reservation_keeps_its_id,
    trimming_does_not_stall_writers,
    one_look_forgets_all_that_is_old,
    what_is_old_is_forgotten_however_much_is_written,
    a_write_beside_trimming_waits_for_a_statement_at_most,
);

const RETENTION_MS: u64 = 10_000;
const EXPIRED: Result<Answer, SubmitError> =
    Err(SubmitError::RequestIdExpired { retention_ms: RETENTION_MS });

fn setup(clock: &Arc<TestClock>) -> Setup {
    let limits = SequencerLimits { request_retention_ms: RETENTION_MS, trim_interval_ms: 5, ..LIMITS };
    Setup { limits, ..Setup::with_clock(clock) }
}

fn made_at(unix_ms: u64) -> RequestId {
    RequestId::new_v7(unix_ms, [8; 10])
}

async fn is_forgotten(store: &SharedStore, request_id: RequestId) {
    let forgetting = async {
        while !store.load(&[request_id], &[]).await.unwrap().requests.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_mins(1);
    tokio::time::timeout(limit, forgetting).await.expect("it is forgotten in the end");
}

async fn an_expired_v7_id_is_refused(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, setup(&clock)).await;
    let (request_id, command) = (made_at(clock.now_ms()), grant("c", &["g"], Refuse));
    assert_eq!(running.ask(request_id, command.clone()).await, accepted(1, &[true], false));
    clock.advance(RETENTION_MS);
    assert_eq!(running.ask(request_id, command.clone()).await, accepted(1, &[true], true));
    clock.advance(1);
    assert_eq!(running.ask(request_id, command).await, EXPIRED);
    let late = made_at(TestClock::START_MS - 1);
    assert_eq!(running.ask(late, grant("c", &["h"], Refuse)).await, EXPIRED, "one that is new as well");
    assert_eq!(running.hub.head(), 1);
    running.stop().await.unwrap();
}

async fn an_id_from_ahead_is_bad(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, setup(&clock)).await;
    let ahead_ms = 5 * 60_000;
    let request_id = made_at(clock.now_ms() + ahead_ms + 1);
    let ahead = running.ask(request_id, grant("c", &["g"], Refuse)).await;
    assert_eq!(ahead, Err(SubmitError::RequestIdAhead { limit_ms: ahead_ms }));
    clock.advance(1);
    assert_eq!(running.ask(request_id, grant("c", &["g"], Refuse)).await, accepted(1, &[true], false));
    running.stop().await.unwrap();
}

async fn exactly_one_effect_per_request_id_whatever_races(test: TestStore) {
    let running = start(&test.store).await;
    let asked: Vec<_> =
        (0..64).map(|number| running.submit(id(number % 8), grant("c", &["g"], Refuse))).collect();
    let (mut done, mut first) = (0, 0);
    for (number, request) in (0..).zip(asked) {
        let answer = request.await.unwrap().unwrap();
        let again = running.ask(id(number % 8), grant("c", &["g"], Refuse)).await.unwrap();
        assert_eq!(again, Answer { outcome: answer.outcome.clone(), replayed: true });
        done += usize::from(matches!(answer.outcome.verdict, Verdict::Accepted { .. }) && !answer.replayed);
        first += usize::from(!answer.replayed);
    }
    assert_eq!((done, first, running.hub.head()), (1, 8, 1));
    running.stop().await.unwrap();
}

async fn reuse_is_refused_whatever_became_of_the_first(mut test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    running.ask(id(2), grant("c", &["g"], Refuse)).await.unwrap();
    running.ask(id(3), grant("c", &["g"], Skip)).await.unwrap();
    running.stop().await.unwrap();
    test.reopen().await;
    let running = start(&test.store).await;
    for number in 1..=3 {
        let other = running.ask(id(number), grant("c", &["h"], Refuse)).await;
        assert_eq!(other, Err(SubmitError::RequestIdReused));
    }
    let (one, other) = (grant("d", &["g"], Refuse), grant("d", &["h"], Refuse));
    let answers = running.ask_together(vec![(id(4), one), (id(4), other)]).await;
    assert_eq!(answers, [accepted(2, &[true], false), Err(SubmitError::RequestIdReused)]);
    assert_eq!(running.hub.head(), 2);
    running.stop().await.unwrap();
}

async fn never_a_second_effect_after_trimming(mut test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, setup(&clock)).await;
    let (request_id, command) = (made_at(clock.now_ms()), grant("c", &["g"], Refuse));
    running.ask(request_id, command.clone()).await.unwrap();
    running.ask(made_at(clock.now_ms() + 1), revoke("c", &["g"], Refuse)).await.unwrap();
    clock.advance(RETENTION_MS + 1);
    is_forgotten(&test.store, request_id).await;
    assert_eq!(running.ask(request_id, command.clone()).await, EXPIRED);
    clock.set(TestClock::START_MS);
    assert_eq!(running.ask(request_id, command.clone()).await, EXPIRED, "though the clock went back");
    running.stop().await.unwrap();
    test.reopen().await;
    let running = start_with(&test.store, setup(&clock)).await;
    assert_eq!(running.ask(request_id, command).await, EXPIRED, "and another process is asked");
    assert_eq!(running.hub.head(), 2);
    running.stop().await.unwrap();
}

async fn an_id_without_a_time_is_known_for_the_retention(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, setup(&clock)).await;
    let (request_id, command) = (RequestId::from(Uuid::from_u128(7)), grant("c", &["g"], Refuse));
    assert_eq!(running.ask(request_id, command.clone()).await, accepted(1, &[true], false));
    clock.advance(RETENTION_MS);
    assert_eq!(running.ask(request_id, command.clone()).await, accepted(1, &[true], true));
    clock.advance(1);
    is_forgotten(&test.store, request_id).await;
    let verdict = Verdict::Refused { items: vec![(0, RefusalKind::AlreadyOwned)] };
    let anew = Answer { outcome: Outcome { revision: 1, verdict }, replayed: false };
    assert_eq!(running.ask(request_id, command).await, Ok(anew), "it is a new request then");
    running.stop().await.unwrap();
}

async fn an_open_reservation_keeps_its_id(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let clock = TestClock::new();
    let running = start_with(&shared, setup(&clock)).await;
    let old = RequestId::from(Uuid::from_u128(7));
    running.ask(old, reserve("c", "g", 10 * RETENTION_MS)).await.unwrap();
    clock.advance(RETENTION_MS + 1);
    let trims = store.trims();
    until(|| store.trims() > trims + 3).await;
    let other = running.ask(old, reserve("d", "h", 1_000)).await;
    assert_eq!(other, Err(SubmitError::RequestIdReused), "two reservations would share one id");
    let kept: Vec<Reservation> = test.store.reservations(&[old], &[]).await.unwrap();
    assert_eq!((kept[0].customer_id.as_str(), kept[0].game_id.as_str()), ("c", "g"));
    // Once it is closed for long enough, both are forgotten.
    let release = command(vec![Operation::Release { reservation_id: old }]);
    running.ask(made_at(clock.now_ms()), release).await.unwrap();
    clock.advance(RETENTION_MS + 1);
    is_forgotten(&test.store, old).await;
    assert_eq!(test.store.reservations(&[old], &[]).await.unwrap(), []);
    running.stop().await.unwrap();
}

async fn one_look_forgets_all_that_is_old(test: TestStore) {
    const RESERVATIONS: u64 = 1_100;
    let clock = TestClock::new();
    let limits = SequencerLimits { trim_interval_ms: 1_000_000_000, ..setup(&clock).limits };
    let running = start_with(&test.store, Setup { limits, ..setup(&clock) }).await;
    let ids: Vec<RequestId> =
        (1..=RESERVATIONS).map(|number| RequestId::from(Uuid::from_u128(number.into()))).collect();
    for chunk in ids.chunks(100) {
        let requests = chunk.iter().map(|id| (*id, reserve(&id.as_uuid().to_string(), "g", 1_000)));
        running.ask_together(requests.collect()).await;
    }
    clock.advance(1_000);
    until(|| running.hub.head() == 2 * RESERVATIONS).await;
    clock.advance(RETENTION_MS + 1);
    running.stop().await.unwrap();
    // A process that starts looks once.
    let running = start_with(&test.store, Setup { limits, ..setup(&clock) }).await;
    is_forgotten(&test.store, ids[ids.len() - 1]).await;
    assert_eq!(test.store.load(&ids, &[]).await.unwrap().requests, []);
    assert_eq!(test.store.reservations(&ids, &[]).await.unwrap(), []);
    running.stop().await.unwrap();
}

/// A batch of outcomes that were decided when their ids were made.
fn decided(made_at_ms: impl Iterator<Item = u64>) -> Batch {
    let outcome =
        Outcome { revision: 0, verdict: Verdict::Accepted { changed: vec![true], expires_at_ms: None } };
    let stored = |decided_at_ms| StoredRequest {
        request_id: made_at(decided_at_ms),
        content_hash: [0; 32],
        outcome: outcome.clone(),
        decided_at_ms,
    };
    let requests = made_at_ms.map(|made_at_ms| Arc::new(stored(made_at_ms))).collect();
    Batch { requests, ..Batch::default() }
}

async fn trimming_does_not_stall_writers(test: TestStore) {
    let (_, head) = test.lead().await;
    test.store.commit(&head, &decided(1..=1_200)).await.unwrap();
    let (store, shared) = faulty(&test, &[]);
    store.hold_trims();
    let clock = TestClock::new();
    let running = start_with(&shared, setup(&clock)).await;
    until(|| store.trims() == 1).await;
    for number in 0..5 {
        let request_id = made_at(clock.now_ms() + number);
        let game = format!("g{number}");
        running.ask(request_id, grant("c", &[&game], Refuse)).await.expect("nobody waits for it");
    }
    store.release_trims();
    is_forgotten(&test.store, made_at(1_200)).await;
    assert!(store.trims() >= 3, "a few at a time");
    assert_eq!(running.hub.head(), 5);
    running.stop().await.unwrap();
}

async fn what_is_old_is_forgotten_however_much_is_written(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let clock = TestClock::new();
    store.hold_trims();
    let running = start_with(&shared, setup(&clock)).await;
    let first = made_at(clock.now_ms());
    running.ask(first, grant("c", &["g"], Refuse)).await.unwrap();
    // Between two looks there always is another write, so that there always is more to look through.
    for number in 1..=30 {
        store.trim_is_held().await;
        let request_id = made_at(clock.now_ms() + number);
        running.ask(request_id, grant("c", &["g"], Skip)).await.unwrap();
        store.release_trim();
        if number == 10 {
            clock.advance(RETENTION_MS + 1);
        }
    }
    let known = test.store.load(&[first], &[]).await.unwrap().requests;
    assert!(known.is_empty(), "whoever looks only at what is new never comes back to what is old");
    store.release_trims();
    running.stop().await.unwrap();
}

async fn a_write_beside_trimming_waits_for_a_statement_at_most(test: TestStore) {
    let (_, head) = test.lead().await;
    test.store.commit(&head, &decided(1..=5_000)).await.unwrap();
    let (mut after, mut next_ms, mut waits) = (None, TestClock::START_MS, Vec::new());
    loop {
        let is_trimming = Cell::new(true);
        let trim = async {
            test.store.trim_reservations(TestClock::START_MS, 500).await.unwrap();
            let came_to = test.store.trim(after, TestClock::START_MS, 500).await.unwrap();
            is_trimming.set(false);
            came_to
        };
        // One after the other, for as long as it is trimmed: whatever holds the writer holds one of them.
        let write = async {
            let mut longest = Duration::ZERO;
            while is_trimming.get() {
                let begin = Instant::now();
                test.store.commit(&head, &decided(iter::once(next_ms))).await.unwrap();
                longest = longest.max(begin.elapsed());
                next_ms += 1;
            }
            longest
        };
        let (came_to, longest) = tokio::join!(trim, write);
        waits.push(longest);
        after = came_to;
        if after.is_none() {
            break;
        }
    }
    // These forgot something. A busy machine may be slow now and then, but what holds the writer does so each time.
    let shortest = *waits[..10].iter().min().unwrap();
    assert!(shortest < Duration::from_millis(200), "a write waits {shortest:?} for trimming, each time");
    assert!(test.store.load(&[made_at(5_000)], &[]).await.unwrap().requests.is_empty());
}
