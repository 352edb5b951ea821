//! Each limit is told, with its number, and what is over it changes nothing.

use gameshelf::errors::{Reason as ErrorReason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::harness::*;

on_both_stores!(
    the_sizes_of_requests_are_told,
    the_sizes_of_holds_and_stocks_are_told,
    the_numbers_of_reservations_and_limited_editions_are_told,
    the_sizes_of_the_queue_are_told,
);

fn cause_of_wire() -> wire::Cause {
    wire::Cause { reason: wire::Reason::Gift.into(), ..Default::default() }
}

fn grant_request(number: u64, games: usize) -> wire::GrantRequest {
    wire::GrantRequest {
        request_id: id(number).to_string(),
        customer_id: "c".to_owned(),
        game_ids: (0..games).map(|game| format!("g{number}-{game}")).collect(),
        cause: Some(cause_of_wire()),
        ..Default::default()
    }
}

fn reserve_request(number: u64, hold_seconds: i64) -> wire::ReserveRequest {
    wire::ReserveRequest {
        request_id: id(number).to_string(),
        customer_id: "c".to_owned(),
        game_id: format!("g{number}"),
        hold: Some(prost_types::Duration { seconds: hold_seconds, nanos: 0 }),
        cause: Some(cause_of_wire()),
    }
}

fn stock_request(number: u64, amount: wire::set_stock_request::Amount) -> wire::SetStockRequest {
    wire::SetStockRequest {
        request_id: id(number).to_string(),
        game_id: format!("g{number}"),
        amount: Some(amount),
        cause: Some(cause_of_wire()),
    }
}

/// The field that is wrong, and what is said about it.
fn field(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason_of(status), Some(ErrorReason::InvalidFields));
    let violation = status.get_details_bad_request().unwrap().field_violations.remove(0);
    (violation.field, violation.description)
}

async fn the_sizes_of_requests_are_told(test: TestStore) {
    let running = start(&test.store).await;
    let service = &running.service;
    let refusals = [
        (service.grant(Request::new(grant_request(1, 1_001))).await.unwrap_err(), "game_ids", "1000"),
        (
            service
                .commit(Request::new(wire::CommitRequest {
                    request_id: id(1).to_string(),
                    preconditions: vec![wire::Precondition::default()],
                    operations: vec![wire::Operation::default(); 1_000],
                    cause: Some(cause_of_wire()),
                }))
                .await
                .unwrap_err(),
            "operations",
            "1000",
        ),
        (
            service
                .check_ownership(Request::new(wire::CheckOwnershipRequest {
                    pairs: vec![wire::OwnershipPair::default(); 1_001],
                    freshness: None,
                }))
                .await
                .unwrap_err(),
            "pairs",
            "1000",
        ),
        (
            service
                .list_entitlements(Request::new(wire::ListEntitlementsRequest {
                    customer_id: "c".to_owned(),
                    page_size: 1_001,
                    ..Default::default()
                }))
                .await
                .unwrap_err(),
            "page_size",
            "1000",
        ),
        (
            service
                .list_history(Request::new(wire::ListHistoryRequest {
                    customer_id: "c".to_owned(),
                    page_size: 1_001,
                    ..Default::default()
                }))
                .await
                .unwrap_err(),
            "page_size",
            "1000",
        ),
    ];
    for (status, name, limit) in refusals {
        let (wrong, told) = field(&status);
        assert!(wrong == name && told.contains(limit), "{wrong}: {told}");
    }
    assert_eq!(running.hub.head(), 0);
    running.stop().await.unwrap();
}

async fn the_sizes_of_holds_and_stocks_are_told(test: TestStore) {
    use wire::set_stock_request::Amount;
    let running = start(&test.store).await;
    for hold_seconds in [0, 86_401] {
        let status =
            running.service.reserve(Request::new(reserve_request(1, hold_seconds))).await.unwrap_err();
        let (wrong, told) = field(&status);
        assert!(wrong == "hold" && told.contains("86400000"), "{wrong}: {told}");
    }
    for (amount, name) in [
        (Amount::Total(1_000_000_001), "total"),
        (Amount::Add(0), "add"),
        (Amount::Add(1_000_000_001), "add"),
    ] {
        let status = running.service.set_stock(Request::new(stock_request(1, amount))).await.unwrap_err();
        let (wrong, told) = field(&status);
        assert!(wrong == name && told.contains("1000000000"), "{wrong}: {told}");
    }
    assert_eq!(running.hub.head(), 0);
    running.service.reserve(Request::new(reserve_request(2, 86_400))).await.unwrap();
    let most = stock_request(3, Amount::Total(1_000_000_000));
    running.service.set_stock(Request::new(most)).await.unwrap();
    running.stop().await.unwrap();
}

async fn the_numbers_of_reservations_and_limited_editions_are_told(test: TestStore) {
    use wire::set_stock_request::Amount;
    let running = start(&test.store).await;
    for number in 1..=2 {
        running.service.reserve(Request::new(reserve_request(number, 60))).await.unwrap();
        let stock = stock_request(10 + number, Amount::Add(1));
        running.service.set_stock(Request::new(stock)).await.unwrap();
    }
    let reserve = running.service.reserve(Request::new(reserve_request(3, 60))).await.unwrap_err();
    let stock = running.service.set_stock(Request::new(stock_request(13, Amount::Add(1)))).await.unwrap_err();
    for (status, reason) in [(reserve, ErrorReason::ReservationLimit), (stock, ErrorReason::StockLimit)] {
        assert_eq!((status.code(), reason_of(&status)), (Code::FailedPrecondition, Some(reason)));
        assert_eq!(metadata_of(&status, "limit").as_deref(), Some("2"), "{status:?}");
    }
    running.stop().await.unwrap();
}

async fn the_sizes_of_the_queue_are_told(test: TestStore) {
    for (limits, games, name, limit) in [
        (SequencerLimits { queue_requests: 1, ..LIMITS }, 1, "limit_requests", "1"),
        (SequencerLimits { queue_bytes: 30_000, ..LIMITS }, 200, "limit_bytes", "30000"),
    ] {
        let (store, shared) = faulty(&test, &[]);
        let running = start_with(&shared, Setup { limits, ..Setup::default() }).await;
        let before = running.hub.head();
        store.hold_commits();
        let ask = |number| {
            let service = running.service.clone();
            async move { service.grant(Request::new(grant_request(number, games))).await }
        };
        let first = tokio::spawn(ask(before + 1));
        store.commit_is_held().await;
        // The first one is being committed; the second one takes what room there is.
        let second = tokio::spawn(ask(before + 2));
        until(|| running.handle.waiting() == 1).await;
        let status = ask(before + 3).await.unwrap_err();
        assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(ErrorReason::QueueFull)));
        assert_eq!(metadata_of(&status, name).as_deref(), Some(limit));
        assert!(status.get_details_retry_info().is_some());
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "50");
        (0..2).for_each(|_| store.release_commit());
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
        assert_eq!(running.hub.head(), before + 2, "nothing of the third one was enqueued");
        store.release_commit();
        let alone = running.service.grant(Request::new(grant_request(before + 1_000, 1_000))).await;
        match name {
            "limit_bytes" => {
                let status = alone.unwrap_err();
                let told = (status.code(), metadata_of(&status, "limit_bytes"));
                assert_eq!(told, (Code::InvalidArgument, Some(limit.to_owned())), "it would never fit");
            }
            _ => assert!(alone.is_ok(), "it fits where its bytes do"),
        }
        running.stop().await.unwrap();
    }
}
