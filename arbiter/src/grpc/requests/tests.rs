//! What is taken, and what is refused.

use super::*;
use gameshelf::errors::metadata_of;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::freshness::v1::{Freshness, freshness::Requirement};
use tonic::Status;

use proptest::prelude::*;
use tonic_types::StatusExt;

const LIMITS: RequestLimits = RequestLimits {
    changes_per_request: 3,
    pairs_per_check: 3,
    page_size_default: 10,
    page_size_max: 20,
    reservation_hold_max_ms: 1_000,
    filter_items: 3,
    poll_wait_max_ms: 1_000,
};

fn good() -> wire::GrantRequest {
    wire::GrantRequest {
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        customer_id: "c".to_owned(),
        game_ids: vec!["a".to_owned(), "b".to_owned()],
        on_owned: wire::OnOwned::Skip.into(),
        cause: Some(wire::Cause { reason: wire::Reason::Gift.into(), ..wire::Cause::default() }),
        end_time: None,
    }
}

fn wrong_fields(status: &Status) -> Vec<String> {
    let request = status.get_details_bad_request().expect("every bad request names its fields");
    assert!(status.get_details_error_info().is_some());
    request.field_violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn every_wrong_field_of_a_grant_is_named() {
    assert!(grant(&good(), &LIMITS).is_ok());
    let nothing = grant(&wire::GrantRequest::default(), &LIMITS).err().unwrap();
    assert_eq!(wrong_fields(&nothing), ["request_id", "customer_id", "game_ids", "cause"]);
    let bad = wire::GrantRequest {
        request_id: "7".to_owned(),
        customer_id: "c".repeat(65),
        game_ids: vec!["a".to_owned(), "a".to_owned(), "A b".to_owned()],
        on_owned: 9,
        cause: Some(wire::Cause { reason: 99, actor: "\n".to_owned(), order_id: "o".repeat(65) }),
        end_time: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
    };
    let expected = [
        "request_id",
        "customer_id",
        "game_ids[1]",
        "game_ids[2]",
        "on_owned",
        "cause.actor",
        "cause.order_id",
        "cause.reason",
        "end_time",
    ];
    assert_eq!(wrong_fields(&grant(&bad, &LIMITS).err().unwrap()), expected);
}

#[test]
fn a_limit_is_told() {
    let game_ids = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    let status = grant(&wire::GrantRequest { game_ids, ..good() }, &LIMITS).err().unwrap();
    let described = &status.get_details_bad_request().unwrap().field_violations[0].description;
    assert_eq!(described, "game_ids must name at most 3 games, and names 4");
}

/// What a program is told of the first limit: the field, the value and the limit.
fn limit_told<T>(refused: Result<T, Status>) -> String {
    let status = refused.err().expect("it is over a limit");
    let value = |key| metadata_of(&status, key);
    let number = value("number").zip(value("limit")).map(|(number, limit)| format!("{number}/{limit}"));
    let bytes =
        value("bytes").zip(value("limit_bytes")).map(|(bytes, limit)| format!("{bytes}/{limit} bytes"));
    let time = value("value_ms").zip(value("limit_ms")).map(|(time, limit)| format!("{time}/{limit} ms"));
    let told: Vec<_> = [value("limit_field"), number, bytes, time].into_iter().flatten().collect();
    told.join(" ")
}

#[test]
fn every_limit_is_told_to_programs_with_the_value_that_is_not_within_it() {
    use wire::set_stock_request::Amount;
    let strings = |number: usize| (0..number).map(|one| format!("g{one}")).collect::<Vec<_>>();
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let told = limit_told(grant(&wire::GrantRequest { game_ids: strings(4), ..good() }, &LIMITS));
    assert_eq!(told, "game_ids 4/3");
    let told = limit_told(grant(&wire::GrantRequest { customer_id: "c".repeat(65), ..good() }, &LIMITS));
    assert_eq!(told, "customer_id 65/64 bytes");
    let operations = vec![wire::Operation::default(); 4];
    let told = limit_told(commit(&wire::CommitRequest { operations, ..Default::default() }, &LIMITS));
    assert_eq!(told, "operations 4/3");
    let rows = vec![wire::ImportRow::default(); 4];
    let told = limit_told(import(&wire::ImportRequest { rows, ..Default::default() }, &LIMITS));
    assert_eq!(told, "rows 4/3");
    let pairs = vec![wire::OwnershipPair::default(); 4];
    assert_eq!(
        limit_told(check(&wire::CheckOwnershipRequest { pairs, freshness: None }, &LIMITS)),
        "pairs 4/3"
    );
    let told =
        limit_told(list(&wire::ListEntitlementsRequest { page_size: 21, ..Default::default() }, &LIMITS));
    assert_eq!(told, "page_size 21/20");
    let told = limit_told(reserve(&wire::ReserveRequest { hold: seconds(2), ..Default::default() }, &LIMITS));
    assert_eq!(told, "hold 2000/1000 ms");
    for (amount, expected) in
        [(Amount::Total(1_000_000_001), "total 1000000001/1000000000"), (Amount::Add(0), "add 0/1000000000")]
    {
        let request = wire::SetStockRequest { amount: Some(amount), ..Default::default() };
        assert_eq!(limit_told(set_stock(&request)), expected);
    }
    let filter = Some(wire::Filter { game_ids: strings(4), ..Default::default() });
    let told = limit_told(watch(&wire::WatchRequest { filter, ..Default::default() }, &LIMITS));
    assert_eq!(told, "filter 4/3");
    let filter = Some(wire::Filter { partitions: vec![256], ..Default::default() });
    let told = limit_told(watch(&wire::WatchRequest { filter, ..Default::default() }, &LIMITS));
    assert_eq!(told, "filter.partitions[0] 256/255");
    let told = limit_told(poll_changes(
        &wire::PollChangesRequest { wait: seconds(2), ..Default::default() },
        &LIMITS,
    ));
    assert_eq!(told, "wait 2000/1000 ms");
}

fn operation(change: wire::operation::Change) -> wire::Operation {
    wire::Operation { change: Some(change) }
}

#[test]
fn every_wrong_field_of_a_commit_is_named() {
    use wire::operation::Change;
    use wire::precondition::Condition;
    let limits = RequestLimits { changes_per_request: 9, ..LIMITS };
    let transfer = wire::TransferOperation {
        from_customer_id: "c".to_owned(),
        to_customer_id: "c".to_owned(),
        game_id: "g".to_owned(),
    };
    let condition = |condition| wire::Precondition { condition };
    let request = wire::CommitRequest {
        preconditions: vec![
            condition(None),
            condition(Some(Condition::Owned(wire::OwnershipPair::default()))),
            condition(Some(Condition::UnchangedSince(wire::UnchangedSince::default()))),
        ],
        operations: vec![
            operation(Change::Grant(wire::GrantOperation { on_owned: 7, ..Default::default() })),
            operation(Change::Revoke(wire::RevokeOperation { on_not_owned: 7, ..Default::default() })),
            operation(Change::Transfer(transfer)),
            wire::Operation::default(),
        ],
        ..Default::default()
    };
    let expected = [
        "request_id",
        "cause",
        "preconditions[0].condition",
        "preconditions[1].owned.customer_id",
        "preconditions[1].owned.game_id",
        "preconditions[2].unchanged_since.customer_id",
        "operations[0].grant.customer_id",
        "operations[0].grant.game_id",
        "operations[0].grant.on_owned",
        "operations[1].revoke.customer_id",
        "operations[1].revoke.game_id",
        "operations[1].revoke.on_not_owned",
        "operations[2].transfer.to_customer_id",
        "operations[3].change",
    ];
    assert_eq!(wrong_fields(&commit(&request, &limits).err().unwrap()), expected);
    let nothing = wire::CommitRequest { operations: Vec::new(), preconditions: Vec::new(), ..request };
    let named = wrong_fields(&commit(&nothing, &limits).err().unwrap());
    assert_eq!(named, ["request_id", "cause", "operations"]);
}

#[test]
fn a_reservation_is_not_closed_by_the_request_that_opened_it() {
    let request_id = good().request_id;
    let (reservation_id, cause) = (request_id.clone(), good().cause);
    let request = wire::ConfirmReservationRequest { request_id, reservation_id, cause };
    assert_eq!(wrong_fields(&confirm(&request).err().unwrap()), ["request_id"]);
    let wire::ConfirmReservationRequest { request_id, reservation_id, cause } = request;
    let request = wire::ReleaseReservationRequest { request_id, reservation_id, cause };
    assert_eq!(wrong_fields(&release(&request).err().unwrap()), ["request_id"]);
}

#[test]
fn a_list_has_a_page_size_within_limits() {
    let size = |page_size| {
        let request = wire::ListEntitlementsRequest {
            customer_id: "c".to_owned(),
            page_size,
            ..wire::ListEntitlementsRequest::default()
        };
        list(&request, &LIMITS).map(|list| list.page_size).ok()
    };
    assert_eq!([size(0), size(20), size(21), size(-1)], [Some(10), Some(20), None, None]);
}

proptest! {
    #[test]
    fn any_grant_is_taken_or_its_fields_are_named(
        request_id in any::<String>(),
        customer_id in any::<String>(),
        game_ids in proptest::collection::vec(any::<String>(), 0..5),
        on_owned in any::<i32>(),
        reason in any::<i32>(),
        actor in any::<String>(),
    ) {
        let cause = Some(wire::Cause { reason, actor, order_id: String::new() });
        let request =
            wire::GrantRequest { request_id, customer_id, game_ids, on_owned, cause, end_time: None };
        match grant(&request, &LIMITS) {
            Ok(write) => prop_assert_eq!(write.request_id.to_string(), request.request_id.to_lowercase()),
            Err(status) => prop_assert!(!wrong_fields(&status).is_empty()),
        }
    }

    #[test]
    fn any_change_is_taken_or_its_fields_are_named(
        texts in proptest::collection::vec(any::<String>(), 4),
        seconds in any::<i64>(),
        nanos in any::<i32>(),
        number in any::<u64>(),
    ) {
        use wire::set_stock_request::Amount;
        let [customer_id, game_id, other_id, request_id] = <[String; 4]>::try_from(texts).unwrap();
        let cause = good().cause;
        let hold = Some(prost_types::Duration { seconds, nanos });
        let end_time = Some(prost_types::Timestamp { seconds, nanos });
        let change = wire::GrantOperation {
            customer_id: customer_id.clone(),
            game_id: game_id.clone(),
            end_time,
            ..Default::default()
        };
        let answers = [
            reserve(
                &wire::ReserveRequest {
                    request_id: request_id.clone(),
                    customer_id: customer_id.clone(),
                    game_id: game_id.clone(),
                    hold,
                    cause: cause.clone(),
                },
                &LIMITS,
            ),
            transfer(
                &wire::TransferRequest {
                    request_id: request_id.clone(),
                    from_customer_id: customer_id.clone(),
                    to_customer_id: other_id,
                    game_ids: vec![game_id.clone()],
                    cause: cause.clone(),
                },
                &LIMITS,
            ),
            set_stock(&wire::SetStockRequest {
                request_id: request_id.clone(),
                game_id,
                amount: Some(Amount::Total(number)),
                cause: cause.clone(),
            }),
            commit(
                &wire::CommitRequest {
                    request_id,
                    operations: vec![operation(wire::operation::Change::Grant(change))],
                    cause,
                    ..Default::default()
                },
                &LIMITS,
            ),
        ];
        for answer in answers {
            if let Err(status) = answer {
                prop_assert!(!wrong_fields(&status).is_empty());
            }
        }
    }

    #[test]
    fn any_other_request_is_taken_or_its_fields_are_named(
        text in any::<String>(),
        page_size in any::<i32>(),
        seconds in any::<i64>(),
        nanos in any::<i32>(),
    ) {
        let age = prost_types::Duration { seconds, nanos };
        for requirement in [Requirement::AtMostOld(age), Requirement::AtLeastAsFreshAs(text.clone())] {
            let freshness = Some(Freshness { requirement: Some(requirement) });
            let request = wire::ListEntitlementsRequest {
                customer_id: text.clone(),
                page_size,
                page_token: text.clone(),
                freshness,
                as_of_revision: 0,
            };
            if let Err(status) = list(&request, &LIMITS) {
                prop_assert!(!wrong_fields(&status).is_empty());
            }
        }
        let start = Some(wire::watch_request::Start::AfterToken(text));
        let refused = watch(&wire::WatchRequest { start, ..wire::WatchRequest::default() }, &LIMITS).is_err();
        prop_assert!(refused);
    }
}
