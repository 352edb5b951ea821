//! A clock that the tests set, and a lease that stands in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use mesh::environment::{Clock, Environment};
use uuid::Uuid;

use super::lease::LeaseLost;
use super::*;
use crate::store::testing::TestStore;
use crate::store::{Head, LeaseRow, LeaseStore, StoreError};

#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl SetClock {
    fn pass(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn monotonic(&self) -> Instant {
        Environment::system().clock.monotonic()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// A lease whose renewals take time, or fail.
#[derive(Debug)]
struct Leases {
    clock: Arc<SetClock>,
    answer_takes_ms: u64,
    answers: Mutex<Vec<bool>>,
}

#[async_trait]
impl LeaseStore for Leases {
    async fn lease(&self) -> Result<LeaseRow, StoreError> {
        Ok(LeaseRow { leader_id: None, duration_ms: 0, renewals: 0 })
    }

    async fn take(&self, _: Uuid, _: &LeaseRow, _: u64) -> Result<Option<Head>, StoreError> {
        Ok(None)
    }

    async fn renew(&self, _: Uuid) -> Result<bool, StoreError> {
        self.clock.pass(self.answer_takes_ms);
        match self.answers.lock().unwrap().pop() {
            Some(true) => Ok(true),
            Some(false) => Err(StoreError::Corrupt("no answer".to_owned())),
            None => Ok(false),
        }
    }

    async fn release(&self, _: Uuid) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn a_lease_counts_from_when_its_renewal_was_sent() {
    let clock = Arc::new(SetClock::default());
    clock.pass(10_000);
    let lease = Lease::held(clock.clone(), Duration::from_secs(1), Duration::from_millis(9_500));
    assert_eq!(lease.age(), None);
    clock.pass(499);
    assert_eq!(lease.age(), None, "999 ms after it was sent");
    clock.pass(1);
    assert_eq!(lease.age(), Some(Duration::from_secs(1)));
}

#[test]
fn an_exclusive_lease_never_ends() {
    let clock = Arc::new(SetClock::default());
    let lease = Lease::exclusive(clock.clone());
    clock.pass(u64::MAX / 2);
    assert_eq!(lease.age(), None);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_answered_late_proves_no_more_than_when_it_was_sent() {
    let clock = Arc::new(SetClock::default());
    let lease = Lease::held(clock.clone(), Duration::from_secs(1), Duration::ZERO);
    let leases = Leases { clock: clock.clone(), answer_takes_ms: 700, answers: Mutex::new(vec![true]) };
    clock.pass(250);
    let kept = keep(&lease, &leases, Uuid::nil()).await;
    assert!(matches!(kept, Err(LeaseLost)), "the second renewal finds another leader");
    // Sent at 250 and answered at 950; the second one, at 1,650, was refused.
    assert_eq!(lease.age(), Some(Duration::from_millis(1_400)));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again() {
    let clock = Arc::new(SetClock::default());
    let lease = Lease::held(clock.clone(), Duration::from_secs(1), Duration::ZERO);
    let leases =
        Leases { clock: clock.clone(), answer_takes_ms: 100, answers: Mutex::new(vec![true, false]) };
    let kept = keep(&lease, &leases, Uuid::nil()).await;
    assert!(matches!(kept, Err(LeaseLost)));
    assert_eq!(lease.age(), None, "the second one, sent at 100, was acknowledged");
}

fn options(take_over: bool) -> TakeOptions {
    TakeOptions { leader_id: Uuid::now_v7(), lease: Duration::from_millis(300), take_over, restored: false }
}

fn since(clock: &Arc<dyn Clock>, begin: Duration) -> Duration {
    clock.since_boot().saturating_sub(begin)
}

fn system() -> Arc<dyn Clock> {
    Environment::system().clock
}

#[tokio::test]
async fn a_second_one_is_refused_while_the_first_renews() {
    let test = TestStore::postgres().await;
    let first = options(false);
    let leading = take(&*test.store, &system(), &first).await.unwrap();
    let kept = keep(&leading.lease, test.store.leases().unwrap(), first.leader_id);
    let second = options(false);
    let clock = system();
    tokio::select! {
        _ = kept => panic!("nobody took it"),
        refused = take(&*test.store, &clock, &second) => assert!(matches!(refused, Err(TakeError::Led))),
    }
}

#[tokio::test]
async fn a_second_one_succeeds_one_that_ended_without_a_word_after_its_lease() {
    let test = TestStore::postgres().await;
    let clock = system();
    let first = take(&*test.store, &clock, &options(false)).await.unwrap();
    let begin = clock.since_boot();
    let second = take(&*test.store, &clock, &options(false)).await.unwrap();
    assert!(since(&clock, begin) >= Duration::from_millis(300), "it waited the lease out");
    assert_eq!(second.head.epoch, first.head.epoch + 1);
    assert!(first.lease.age().is_some() && second.lease.age().is_none());
}

#[tokio::test]
async fn one_that_ended_in_order_is_not_waited_for() {
    let test = TestStore::postgres().await;
    let clock = system();
    let first = TakeOptions { lease: Duration::from_hours(1), ..options(false) };
    take(&*test.store, &clock, &first).await.unwrap();
    test.store.leases().unwrap().release(first.leader_id).await.unwrap();
    let begin = clock.since_boot();
    take(&*test.store, &clock, &options(false)).await.unwrap();
    assert!(since(&clock, begin) < Duration::from_mins(1));
}

#[tokio::test]
async fn one_that_takes_over_waits_the_old_lease_out() {
    let test = TestStore::postgres().await;
    let clock = system();
    let old = options(false);
    let first = take(&*test.store, &clock, &old).await.unwrap();
    let leases = test.store.leases().unwrap();
    let (lost, second) = tokio::join!(keep(&first.lease, leases, old.leader_id), async {
        let begin = clock.since_boot();
        let second = take(&*test.store, &clock, &options(true)).await.unwrap();
        assert!(since(&clock, begin) >= Duration::from_millis(300));
        assert!(first.lease.age().is_some(), "by then the old one answers nothing strongly");
        assert_eq!(second.lease.age(), None);
        second
    },);
    assert!(matches!(lost, Err(LeaseLost)));
    assert_eq!(second.head.epoch, first.head.epoch + 1);
    assert_eq!(test.store.lead(old.leader_id, false).await.unwrap(), None, "the old one cannot lead again");
}

#[tokio::test]
async fn a_file_needs_no_lease() {
    let test = TestStore::sqlite().await;
    let leading = take(&*test.store, &system(), &options(false)).await.unwrap();
    assert_eq!((leading.head.epoch, leading.lease.age()), (1, None));
}
