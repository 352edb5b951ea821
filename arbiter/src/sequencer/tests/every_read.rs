//! What every read promises alike: how fresh it is, which tokens it takes, and what it says when the store fails.

use std::time::Duration;

use gameshelf::errors::{Reason as ErrorReason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use gameshelf::proto::freshness::v1::{Any, Freshness, Provenance, Strong, freshness::Requirement};
use gameshelf::tokens::Token;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::harness::*;
use crate::grpc::ArbiterGrpc;
use crate::store::faulty::DRIVER_SECRET;

on_both_stores!(
    a_strong_read_is_answered_only_inside_the_lease,
    the_lease_is_judged_after_the_answer_is_there,
    what_is_older_than_asked_is_refused,
    whether_it_is_older_than_asked_is_judged_after_the_answer_is_there,
    a_token_is_never_taken_for_another,
    a_store_that_fails_is_told_without_its_text,
    a_reservation_that_is_newer_than_what_is_acknowledged_is_waited_for,
);

const LEASE: Duration = Duration::from_secs(1);

/// A read that says how fresh it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Check,
    List,
    History,
    Explain,
    Reservation,
    Stock,
}

impl Read {
    const ALL: [Self; 6] =
        [Self::Check, Self::List, Self::History, Self::Explain, Self::Reservation, Self::Stock];

    /// Those that ask the store, where the cache keeps nobody.
    fn asking_the_store() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|read| *read != Self::Stock)
    }

    /// Reads, and returns how fresh the answer is.
    async fn ask(
        self,
        service: &ArbiterGrpc,
        requirement: impl Into<Option<Requirement>>,
    ) -> Result<Provenance, Status> {
        let freshness = Some(Freshness { requirement: requirement.into() });
        let (customer_id, game_id) = ("c".to_owned(), "g".to_owned());
        let provenance = match self {
            Self::Check => {
                let pairs = vec![wire::OwnershipPair { customer_id, game_id }];
                let request = wire::CheckOwnershipRequest { pairs, freshness };
                service.check_ownership(Request::new(request)).await?.into_inner().provenance
            }
            Self::List => {
                let request = wire::ListEntitlementsRequest { customer_id, freshness, ..Default::default() };
                service.list_entitlements(Request::new(request)).await?.into_inner().provenance
            }
            Self::History => {
                let request = wire::ListHistoryRequest { customer_id, freshness, ..Default::default() };
                service.list_history(Request::new(request)).await?.into_inner().provenance
            }
            Self::Explain => {
                let request =
                    wire::ExplainOwnershipRequest { customer_id, game_id, freshness, as_of_revision: 0 };
                service.explain_ownership(Request::new(request)).await?.into_inner().provenance
            }
            Self::Reservation => {
                let request = wire::GetReservationRequest { reservation_id: id(3).to_string(), freshness };
                service.get_reservation(Request::new(request)).await?.into_inner().provenance
            }
            Self::Stock => {
                let request = wire::GetStockRequest { game_id, freshness };
                service.get_stock(Request::new(request)).await?.into_inner().provenance
            }
        };
        Ok(provenance.expect("every answer says how fresh it is"))
    }
}

fn strong() -> [Option<Requirement>; 2] {
    [None, Some(Requirement::Strong(Strong {}))]
}

fn at_most_old(age: Duration) -> Requirement {
    Requirement::AtMostOld(prost_types::Duration::try_from(age).unwrap())
}

/// An arbiter that begins its lease now, keeps no customer in memory, and has something for every read to show.
async fn start_leased(store: &SharedStore, clock: &Arc<TestClock>) -> Running {
    let setup = Setup { lease: Some(LEASE), cache_bytes: 0, ..Setup::with_clock(clock) };
    let running = start_with(store, setup).await;
    running.ask(id(1), set_stock("g", 10)).await.unwrap();
    running.ask(id(2), grant("c", &["g"], Refuse)).await.unwrap();
    running.ask(id(3), reserve("d", "g", 60_000)).await.unwrap();
    running
}

/// It may be asked again, here or elsewhere, and is told when.
fn assert_unavailable(status: &Status, reason: ErrorReason, told: &dyn std::fmt::Debug) {
    assert_eq!((status.code(), reason_of(status)), (Code::Unavailable, Some(reason)), "{told:?}: {status}");
    assert!(status.get_details_retry_info().is_some(), "{told:?}: {status:?}");
}

async fn a_strong_read_is_answered_only_inside_the_lease(test: TestStore) {
    let clock = TestClock::new();
    let running = start_leased(&test.store, &clock).await;
    clock.advance(999);
    for read in Read::ALL {
        for requirement in strong() {
            let provenance = read.ask(&running.service, requirement).await.unwrap();
            assert_eq!(provenance.age, Some(prost_types::Duration::default()), "{read:?}");
            assert!(!provenance.degraded, "{read:?}");
        }
    }
    running.service.get_head(Request::new(wire::GetHeadRequest {})).await.unwrap();
    running.service.get_digests(Request::new(wire::GetDigestsRequest {})).await.unwrap();
    clock.advance(1);
    for read in Read::ALL {
        for requirement in strong() {
            let status = read.ask(&running.service, requirement).await.unwrap_err();
            assert_unavailable(&status, ErrorReason::NotLeader, &read);
        }
        let any = read.ask(&running.service, Requirement::Any(Any {})).await.unwrap();
        assert!(any.degraded, "{read:?} says that it may be old");
        assert_eq!(any.age, Some(prost_types::Duration::try_from(LEASE).unwrap()), "{read:?}");
    }
    let head = running.service.get_head(Request::new(wire::GetHeadRequest {})).await.unwrap_err();
    assert_unavailable(&head, ErrorReason::NotLeader, &"GetHead");
    let digests = running.service.get_digests(Request::new(wire::GetDigestsRequest {})).await.unwrap_err();
    assert_unavailable(&digests, ErrorReason::NotLeader, &"GetDigests");
    running.stop().await.unwrap();
}

/// Asks inside the lease, and lets the store's answer arrive when it is over.
async fn ask_while_the_lease_ends(
    test: &TestStore,
    read: Read,
    requirement: impl Into<Option<Requirement>>,
) -> Result<Provenance, Status> {
    let (store, shared) = faulty(test, &[]);
    let clock = TestClock::new();
    let running = start_leased(&shared, &clock).await;
    store.hold_reads();
    let (service, requirement) = (running.service.clone(), requirement.into());
    let asked = tokio::spawn(async move { read.ask(&service, requirement).await });
    store.read_is_held().await;
    clock.advance(1_000);
    store.release_read();
    let answer = asked.await.unwrap();
    running.stop().await.unwrap();
    answer
}

async fn the_lease_is_judged_after_the_answer_is_there(test: TestStore) {
    for read in Read::asking_the_store() {
        let status = ask_while_the_lease_ends(&test, read, None).await.unwrap_err();
        assert_unavailable(&status, ErrorReason::NotLeader, &read);
    }
}

async fn what_is_older_than_asked_is_refused(test: TestStore) {
    let clock = TestClock::new();
    let running = start_leased(&test.store, &clock).await;
    clock.advance(999);
    for read in Read::ALL {
        let provenance = read.ask(&running.service, at_most_old(Duration::ZERO)).await.unwrap();
        assert_eq!(provenance.age, Some(prost_types::Duration::default()), "{read:?}, inside the lease");
    }
    clock.advance(501);
    for read in Read::ALL {
        for limit_ms in [0, 1_499] {
            let limit = Duration::from_millis(limit_ms);
            let status = read.ask(&running.service, at_most_old(limit)).await.unwrap_err();
            assert_unavailable(&status, ErrorReason::FreshnessUnavailable, &read);
            assert_eq!(metadata_of(&status, "age_ms").as_deref(), Some("1500"), "{read:?}");
            assert_eq!(metadata_of(&status, "limit_ms"), Some(limit_ms.to_string()), "{read:?}");
        }
        let age = Duration::from_millis(1_500);
        let provenance = read.ask(&running.service, at_most_old(age)).await.unwrap();
        assert_eq!(provenance.age, Some(prost_types::Duration::try_from(age).unwrap()), "{read:?}");
        assert!(provenance.degraded, "{read:?}");
    }
    running.stop().await.unwrap();
}

async fn whether_it_is_older_than_asked_is_judged_after_the_answer_is_there(test: TestStore) {
    for read in Read::asking_the_store() {
        let limit = at_most_old(Duration::from_millis(999));
        let status = ask_while_the_lease_ends(&test, read, limit).await.unwrap_err();
        assert_unavailable(&status, ErrorReason::FreshnessUnavailable, &read);
    }
}

async fn a_token_is_never_taken_for_another(test: TestStore) {
    let running = start_leased(&test.store, &TestClock::new()).await;
    let head = running.service.get_head(Request::new(wire::GetHeadRequest {})).await.unwrap().into_inner();
    let newest: Token = head.provenance.unwrap().token.parse().unwrap();
    let foreign = Token { store_id: Uuid::from_u128(7), ..newest };
    let ahead = newest.at(newest.revision + 1);
    let earlier = Token { incarnation: newest.incarnation - 1, ..newest };
    let later = Token { incarnation: newest.incarnation + 1, ..newest };
    let at_least = |token: Token| Requirement::AtLeastAsFreshAs(token.to_string());
    for read in Read::ALL {
        for known in [newest, newest.at(1)] {
            let provenance = read.ask(&running.service, at_least(known)).await.unwrap();
            assert!(provenance.revision >= known.revision, "{read:?}");
        }
        let status = read.ask(&running.service, at_least(foreign)).await.unwrap_err();
        assert_eq!(status.code(), ErrorReason::TokenForeign.code(), "{read:?}");
        assert_eq!(reason_of(&status), Some(ErrorReason::TokenForeign), "{read:?}");
        for unknown in [ahead, earlier, later] {
            let status = read.ask(&running.service, at_least(unknown)).await.unwrap_err();
            assert_eq!(status.code(), ErrorReason::RevisionUnknown.code(), "{read:?}");
            assert_eq!(reason_of(&status), Some(ErrorReason::RevisionUnknown), "{read:?}, {unknown}");
            assert_eq!(metadata_of(&status, "head"), Some(newest.revision.to_string()), "{read:?}");
            assert_eq!(metadata_of(&status, "revision"), Some(unknown.revision.to_string()), "{read:?}");
        }
    }
    running.stop().await.unwrap();
}

async fn a_store_that_fails_is_told_without_its_text(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let running = start_leased(&shared, &TestClock::new()).await;
    for read in Read::asking_the_store() {
        for (fault, code, reason) in [
            (ReadFault::Unreachable, Code::Unavailable, ErrorReason::StoreUnavailable),
            (ReadFault::Refused, Code::Internal, ErrorReason::Internal),
        ] {
            store.set_read_fault(Some(fault));
            let status = read.ask(&running.service, None).await.unwrap_err();
            assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "{read:?}: {status}");
            let is_retryable = status.get_details_retry_info().is_some();
            assert_eq!(is_retryable, fault == ReadFault::Unreachable, "{read:?}: {status:?}");
            let told = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
            assert!(!told.contains(DRIVER_SECRET), "{read:?}: {told}");
        }
        store.set_read_fault(None);
        read.ask(&running.service, None).await.expect("it is well again");
    }
    running.stop().await.unwrap();
}

async fn a_reservation_that_is_newer_than_what_is_acknowledged_is_waited_for(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let running = start_leased(&shared, &TestClock::new()).await;
    let acknowledged = running.hub.head();
    store.hold_answers();
    let releasing = running.submit(id(4), command(vec![Operation::Release { reservation_id: id(3) }]));
    store.answer_is_held().await;
    store.hold_reads();
    let service = running.service.clone();
    let read = tokio::spawn(async move { Read::Reservation.ask(&service, None).await });
    store.read_is_held().await;
    store.release_read();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!read.is_finished(), "it would show what nobody was told of yet");
    assert_eq!(running.hub.head(), acknowledged);
    store.release_answer();
    releasing.await.unwrap().unwrap();
    assert_eq!(read.await.unwrap().unwrap().revision, acknowledged + 1);
    running.stop().await.unwrap();
}
