//! What is taken, and what is refused.

use super::*;
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
        let refused = watch(&wire::WatchRequest { start }).is_err();
        prop_assert!(refused);
    }
}
