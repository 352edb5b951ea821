//! What a refusal tells a program: its reason, what of the request stands against it, and the precondition that failed.

use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1::operation::Change;
use gameshelf::proto::arbiter::v1::precondition::Condition;
use gameshelf::proto::arbiter::v1::set_stock_request::Amount;
use gameshelf::proto::arbiter::v1::{
    CommitRequest, ConfirmReservationRequest, GetReservationRequest, GrantOperation, GrantRequest, Operation,
    OwnershipPair, Precondition, ReleaseReservationRequest, ReserveRequest, RevokeOperation, RevokeRequest,
    SetStockRequest, TransferOperation, TransferRequest, UnchangedSince, reservation,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::{Running, cause, grant, serving, url_in};

fn new_id() -> String {
    Uuid::now_v7().to_string()
}

fn owned(customer_id: &str, game_id: &str) -> OwnershipPair {
    OwnershipPair { customer_id: customer_id.to_owned(), game_id: game_id.to_owned() }
}

fn unchanged(customer_id: &str, game_id: &str, revision: u64) -> Condition {
    let (customer_id, game_id) = (customer_id.to_owned(), game_id.to_owned());
    Condition::UnchangedSince(UnchangedSince { customer_id, game_id, revision })
}

fn giving(customer_id: &str, game_id: &str) -> Change {
    let (customer_id, game_id) = (customer_id.to_owned(), game_id.to_owned());
    Change::Grant(GrantOperation { customer_id, game_id, ..GrantOperation::default() })
}

fn commit(conditions: impl Into<Vec<Condition>>, changes: impl Into<Vec<Change>>) -> CommitRequest {
    let condition = |condition| Precondition { condition: Some(condition) };
    let change = |change| Operation { change: Some(change) };
    CommitRequest {
        request_id: new_id(),
        preconditions: conditions.into().into_iter().map(condition).collect(),
        operations: changes.into().into_iter().map(change).collect(),
        cause: cause(),
    }
}

fn reserve(game_id: &str, hold: Duration) -> ReserveRequest {
    ReserveRequest {
        request_id: new_id(),
        customer_id: "c".to_owned(),
        game_id: game_id.to_owned(),
        hold: Some(hold.try_into().unwrap()),
        cause: cause(),
    }
}

fn stock(game_id: &str, total: u64) -> SetStockRequest {
    let amount = Some(Amount::Total(total));
    SetStockRequest { request_id: new_id(), game_id: game_id.to_owned(), amount, cause: cause() }
}

/// What is told of one thing that stands against a request: what of the request it is, the type of the precondition, its subject.
type Told<'a> = (&'a str, &'a str, &'a str);

/// Sees that a refusal tells this, all of it and nothing else.
#[track_caller]
fn assert_told<T: std::fmt::Debug>(refused: Result<T, Status>, reason: Reason, told: &[Told<'_>]) -> Status {
    let status = refused.expect_err("it is refused");
    assert_eq!((status.code(), reason_of(&status)), (reason.code(), Some(reason)), "{status:?}");
    let items = metadata_of(&status, "items").unwrap();
    let failed = status.get_details_precondition_failure().unwrap().violations;
    let failed: Vec<Told<'_>> = items
        .split(',')
        .zip(&failed)
        .map(|(item, failed)| (item, failed.r#type.as_str(), failed.subject.as_str()))
        .collect();
    assert_eq!(failed, told);
    assert_eq!(metadata_of(&status, "refused").unwrap(), told.len().to_string());
    for key in ["revision", "token", "replayed"] {
        assert!(metadata_of(&status, key).is_some(), "{key}");
    }
    status
}

/// An arbiter where customer c owns game a since revision 1 and game b since revision 2.
async fn with_two_games(directory: &tempfile::TempDir) -> Running {
    let mut arbiter = serving(&url_in(directory.path()), &["--reservations-per-customer", "2"]).await;
    arbiter.client.grant(grant("c", &["a"])).await.unwrap();
    arbiter.client.grant(grant("c", &["b"])).await.unwrap();
    arbiter
}

#[tokio::test]
async fn a_commit_is_told_which_precondition_failed() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = with_two_games(&directory).await;
    let holds = || Condition::Owned(owned("c", "a"));
    for (condition, reason, precondition, subject) in [
        (Condition::NotOwned(owned("c", "b")), Reason::AlreadyOwned, "NOT_OWNED", "customers/c/games/b"),
        (Condition::Owned(owned("d", "a")), Reason::NotOwned, "OWNED", "customers/d/games/a"),
        (unchanged("c", "", 1), Reason::ChangedSince, "UNCHANGED_SINCE", "customers/c"),
        (unchanged("c", "b", 1), Reason::ChangedSince, "UNCHANGED_SINCE", "customers/c/games/b"),
        (unchanged("c", "a", 9), Reason::RevisionUnknown, "UNCHANGED_SINCE", "customers/c/games/a"),
    ] {
        let request = commit([holds(), condition], [giving("c", "x")]);
        let refused = arbiter.client.commit(request.clone()).await;
        assert_told(refused, reason, &[("preconditions[1]", precondition, subject)]);
        let again = arbiter.client.commit(request).await;
        let again = assert_told(again, reason, &[("preconditions[1]", precondition, subject)]);
        assert_eq!(metadata_of(&again, "replayed").unwrap(), "true");
    }
    let several = [holds(), unchanged("c", "b", 1), Condition::NotOwned(owned("c", "a"))];
    let refused = arbiter.client.commit(commit(several, [giving("c", "x")])).await;
    let told = [
        ("preconditions[1]", "UNCHANGED_SINCE", "customers/c/games/b"),
        ("preconditions[2]", "NOT_OWNED", "customers/c/games/a"),
    ];
    let status = assert_told(refused, Reason::ChangedSince, &told);
    assert_eq!(metadata_of(&status, "customer_id").as_deref(), Some("c"));
    assert_eq!(metadata_of(&status, "game_ids").as_deref(), Some("b,a"));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_commit_is_told_which_operation_cannot_be_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = with_two_games(&directory).await;
    let taking = RevokeOperation { customer_id: "c".to_owned(), game_id: "x".to_owned(), on_not_owned: 0 };
    let moving = TransferOperation {
        from_customer_id: "d".to_owned(),
        to_customer_id: "c".to_owned(),
        game_id: "b".to_owned(),
    };
    let changes =
        [giving("c", "new"), giving("c", "a"), Change::Revoke(taking), Change::Transfer(moving.clone())];
    // The place of an operation is not counted from the first precondition.
    let refused = arbiter.client.commit(commit([Condition::Owned(owned("c", "a"))], changes)).await;
    let told = [
        ("operations[1]", "NOT_OWNED", "customers/c/games/a"),
        ("operations[2]", "OWNED", "customers/c/games/x"),
        ("operations[3]", "NOT_OWNED", "customers/c/games/b"),
    ];
    assert_told(refused, Reason::AlreadyOwned, &told);
    let moving = TransferOperation { game_id: "x".to_owned(), ..moving };
    let refused = arbiter.client.commit(commit([], [Change::Transfer(moving)])).await;
    assert_told(refused, Reason::NotOwned, &[("operations[0]", "OWNED", "customers/d/games/x")]);
    arbiter.stop().await;
}

#[tokio::test]
async fn a_request_of_games_is_told_which_of_its_games_stand_against_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = with_two_games(&directory).await;
    let refused = arbiter.client.grant(grant("c", &["x", "b", "a"])).await;
    let told = [
        ("game_ids[1]", "NOT_OWNED", "customers/c/games/b"),
        ("game_ids[2]", "NOT_OWNED", "customers/c/games/a"),
    ];
    assert_told(refused, Reason::AlreadyOwned, &told);
    let past = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let refused = arbiter.client.grant(GrantRequest { end_time: past, ..grant("c", &["x"]) }).await;
    let told = [("game_ids[0]", "END_TIME_TO_COME", "customers/c/games/x")];
    assert_told(refused, Reason::EndTimePassed, &told);
    let game_ids = vec!["a".to_owned(), "x".to_owned()];
    let revoke = RevokeRequest {
        request_id: new_id(),
        customer_id: "c".to_owned(),
        game_ids: game_ids.clone(),
        on_not_owned: 0,
        cause: cause(),
    };
    let refused = arbiter.client.revoke(revoke).await;
    assert_told(refused, Reason::NotOwned, &[("game_ids[1]", "OWNED", "customers/c/games/x")]);
    let transfer = TransferRequest {
        request_id: new_id(),
        from_customer_id: "c".to_owned(),
        to_customer_id: "d".to_owned(),
        game_ids,
        cause: cause(),
    };
    let refused = arbiter.client.transfer(transfer).await;
    assert_told(refused, Reason::NotOwned, &[("game_ids[1]", "OWNED", "customers/c/games/x")]);
    arbiter.stop().await;
}

#[tokio::test]
async fn a_reservation_that_cannot_be_opened_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = with_two_games(&directory).await;
    let hold = Duration::from_mins(10);
    let refused = arbiter.client.reserve(reserve("a", hold)).await;
    assert_told(refused, Reason::AlreadyOwned, &[("game_id", "NOT_OWNED", "customers/c/games/a")]);
    arbiter.client.set_stock(stock("sold", 0)).await.unwrap();
    let refused = arbiter.client.reserve(reserve("sold", hold)).await;
    assert_told(refused, Reason::OutOfStock, &[("game_id", "IN_STOCK", "customers/c/games/sold")]);
    arbiter.client.reserve(reserve("x", hold)).await.unwrap();
    let refused = arbiter.client.reserve(reserve("x", hold)).await;
    assert_told(refused, Reason::AlreadyReserved, &[("game_id", "NOT_RESERVED", "customers/c/games/x")]);
    arbiter.client.reserve(reserve("y", hold)).await.unwrap();
    let refused = arbiter.client.reserve(reserve("z", hold)).await;
    let told = [("game_id", "RESERVATION_LIMIT", "customers/c/games/z")];
    let status = assert_told(refused, Reason::ReservationLimit, &told);
    assert_eq!(metadata_of(&status, "limit").as_deref(), Some("2"));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_reservation_that_cannot_be_closed_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = with_two_games(&directory).await;
    let confirm = |reservation_id: &str| {
        let (request_id, reservation_id) = (new_id(), reservation_id.to_owned());
        ConfirmReservationRequest { request_id, reservation_id, cause: cause() }
    };
    let release = |reservation_id: &str| {
        let (request_id, reservation_id) = (new_id(), reservation_id.to_owned());
        ReleaseReservationRequest { request_id, reservation_id, cause: cause() }
    };
    let unknown = new_id();
    let released = arbiter.client.reserve(reserve("x", Duration::from_mins(10))).await.unwrap();
    let released = released.into_inner().reservation_id;
    arbiter.client.release_reservation(release(&released)).await.unwrap();
    let expired = arbiter.client.reserve(reserve("y", Duration::from_millis(1))).await.unwrap();
    let expired = expired.into_inner().reservation_id;
    loop {
        let request = GetReservationRequest { reservation_id: expired.clone(), freshness: None };
        let reservation = arbiter.client.get_reservation(request).await.unwrap().into_inner().reservation;
        if reservation.unwrap().status() == reservation::Status::Expired {
            break;
        }
        tokio::task::yield_now().await;
    }
    for (reservation_id, reason) in [
        (unknown, Reason::ReservationUnknown),
        (released, Reason::ReservationClosed),
        (expired, Reason::ReservationExpired),
    ] {
        let subject = format!("reservations/{reservation_id}");
        let told = [("reservation_id", "RESERVATION_OPEN", subject.as_str())];
        let status =
            assert_told(arbiter.client.confirm_reservation(confirm(&reservation_id)).await, reason, &told);
        assert_eq!(metadata_of(&status, "reservation_id"), Some(reservation_id.clone()));
        assert_told(arbiter.client.release_reservation(release(&reservation_id)).await, reason, &told);
    }
    arbiter.stop().await;
}

#[tokio::test]
async fn a_stock_that_cannot_be_set_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &["--limited-editions", "1"]).await;
    arbiter.client.set_stock(stock("x", 2)).await.unwrap();
    for customer_id in ["c", "d"] {
        arbiter.client.grant(grant(customer_id, &["x"])).await.unwrap();
    }
    let refused = arbiter.client.set_stock(stock("x", 1)).await;
    let told = [("game_id", "STOCK_NOT_BELOW_SOLD", "stocks/x")];
    let status = assert_told(refused, Reason::StockBelowSold, &told);
    assert_eq!(metadata_of(&status, "game_ids").as_deref(), Some("x"));
    let refused = arbiter.client.set_stock(stock("y", 1)).await;
    let status = assert_told(refused, Reason::StockLimit, &[("game_id", "STOCK_LIMIT", "stocks/y")]);
    assert_eq!(metadata_of(&status, "limit").as_deref(), Some("1"));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_request_id_that_cannot_be_taken_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &["--request-retention-ms", "60000"]).await;
    let made = async |arbiter: &mut Running, unix_seconds| {
        let time = uuid::Timestamp::from_unix(uuid::NoContext, unix_seconds, 0);
        let request_id = Uuid::new_v7(time).to_string();
        arbiter.client.grant(GrantRequest { request_id, ..grant("c", &["x"]) }).await.unwrap_err()
    };
    let told = |status: &Status| {
        let fields = status.get_details_bad_request().map(|request| request.field_violations);
        let field = fields.and_then(|fields| Some(fields.first()?.field.clone()));
        (status.code(), reason_of(status), field)
    };
    let wrong = Some("request_id".to_owned());
    let status = made(&mut arbiter, 1_000_000_000).await;
    assert_eq!(told(&status), (Code::FailedPrecondition, Some(Reason::RequestIdExpired), None));
    assert_eq!(metadata_of(&status, "retention_ms").as_deref(), Some("60000"));
    let status = made(&mut arbiter, 10_000_000_000).await;
    assert_eq!(told(&status), (Code::InvalidArgument, Some(Reason::InvalidFields), wrong.clone()));
    assert_eq!(metadata_of(&status, "limit_ms").as_deref(), Some("300000"));
    let request = grant("c", &["x"]);
    arbiter.client.grant(request.clone()).await.unwrap();
    let other = GrantRequest { customer_id: "d".to_owned(), ..request };
    let status = arbiter.client.grant(other).await.unwrap_err();
    assert_eq!(told(&status), (Code::InvalidArgument, Some(Reason::RequestIdReused), wrong));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_request_that_never_fits_into_the_queue_names_what_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let limits = ["--queue-bytes", "1048576", "--changes-per-request", "10000"];
    let mut arbiter = serving(&url_in(directory.path()), &limits).await;
    let games: Vec<String> = (0..10_000).map(|number| format!("{number:0>120}")).collect();
    let games: Vec<&str> = games.iter().map(String::as_str).collect();
    let changes: Vec<_> = games.iter().map(|game| giving("c", game)).collect();
    let refused = [
        (arbiter.client.grant(grant("c", &games)).await.map(drop), "game_ids"),
        (arbiter.client.commit(commit([], changes)).await.map(drop), "operations"),
    ];
    for (refused, field) in refused {
        let status = refused.unwrap_err();
        assert_eq!((status.code(), reason_of(&status)), (Code::InvalidArgument, Some(Reason::InvalidFields)));
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
        assert_eq!(metadata_of(&status, "fields").as_deref(), Some(field));
        assert_eq!(metadata_of(&status, "limit_bytes").as_deref(), Some("1048576"));
        assert!(metadata_of(&status, "bytes").unwrap().parse::<u32>().unwrap() > 1 << 20);
    }
    arbiter.stop().await;
}

#[tokio::test]
async fn a_refusal_names_all_that_there_is_room_for_and_says_how_many_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    for (length, named_at_least) in [(5, 20), (128, 8)] {
        // What a customer is called takes most room where no character of it is ASCII.
        let customer_id = "ü".repeat(32);
        let games: Vec<String> = (0..1000).map(|number| format!("{number:0>length$}")).collect();
        let games: Vec<&str> = games.iter().map(String::as_str).collect();
        arbiter.client.grant(grant(&customer_id, &games)).await.unwrap();
        let status = arbiter.client.grant(grant(&customer_id, &games)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::FailedPrecondition, Some(Reason::AlreadyOwned))
        );
        assert_eq!(metadata_of(&status, "refused").as_deref(), Some("1000"));
        let named = status.get_details_precondition_failure().unwrap().violations;
        let items: Vec<String> = (0..named.len()).map(|index| format!("game_ids[{index}]")).collect();
        assert_eq!(metadata_of(&status, "items").unwrap(), items.join(","));
        assert!((named_at_least..=32).contains(&named.len()), "{}", named.len());
        let head = status.into_http::<()>();
        let bytes: usize =
            head.headers().iter().map(|(name, value)| 32 + name.as_str().len() + value.len()).sum();
        assert!(bytes < 8 << 10, "many clients take no more than 8 KiB, and these are {bytes}");
    }
    arbiter.stop().await;
}
