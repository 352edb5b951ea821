//! From the wire to the domain. Every field is checked, and all that is wrong is told at once.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use gameshelf::fields::{self, Fields};
use gameshelf::ids::check_text;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::freshness::v1::{Freshness, freshness::Requirement};
use gameshelf::tokens::Token;
use tonic::Status;

use super::paging::PageStart;
use crate::domain::{
    Cause, Command, CustomerId, GameId, Grant, Key, OnNotOwned, OnOwned, Reason, RequestId, Revoke,
};

/// The most bytes of an actor.
const ACTOR_MAX_BYTES: usize = 128;
/// The most bytes of an order id.
const ORDER_ID_MAX_BYTES: usize = 64;

/// The limits of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) changes_per_request: usize,
    pub(crate) pairs_per_check: usize,
    pub(crate) page_size_default: u32,
    pub(crate) page_size_max: u32,
}

/// A write as it came in.
pub(super) struct Write {
    pub(super) request_id: RequestId,
    pub(super) command: Command,
}

/// What is asked of the freshness of an answer. The arbiter that writes is always as fresh as can be, so that only a token
/// asks something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Present,
    AtLeast(Token),
}

fn parse<T: FromStr<Err: fmt::Display>>(fields: &mut Fields, name: &str, text: &str) -> Option<T> {
    fields.take(name, text.parse::<T>())
}

pub(super) fn grant(request: &wire::GrantRequest, limits: &RequestLimits) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let customer_id = parse(&mut fields, "customer_id", &request.customer_id);
    let game_ids = games(&mut fields, &request.game_ids, limits);
    let on_owned = match request.on_owned() {
        _ if wire::OnOwned::try_from(request.on_owned).is_err() => {
            fields.wrong("on_owned", "must be a known value");
            None
        }
        wire::OnOwned::Unspecified | wire::OnOwned::Refuse => Some(OnOwned::Refuse),
        wire::OnOwned::Skip => Some(OnOwned::Skip),
    };
    let cause = cause(&mut fields, request.cause.as_ref());
    let write = (|| {
        let (customer_id, game_ids) = (customer_id?, game_ids?);
        let grant = Grant { customer_id, game_ids, on_owned: on_owned?, cause: cause? };
        Some(Write { request_id: request_id?, command: Command::Grant(grant) })
    })();
    fields.finish(write)
}

pub(super) fn revoke(request: &wire::RevokeRequest, limits: &RequestLimits) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let customer_id = parse(&mut fields, "customer_id", &request.customer_id);
    let game_ids = games(&mut fields, &request.game_ids, limits);
    let on_not_owned = match request.on_not_owned() {
        _ if wire::OnNotOwned::try_from(request.on_not_owned).is_err() => {
            fields.wrong("on_not_owned", "must be a known value");
            None
        }
        wire::OnNotOwned::Unspecified | wire::OnNotOwned::Refuse => Some(OnNotOwned::Refuse),
        wire::OnNotOwned::Skip => Some(OnNotOwned::Skip),
    };
    let cause = cause(&mut fields, request.cause.as_ref());
    let write = (|| {
        let (customer_id, game_ids) = (customer_id?, game_ids?);
        let revoke = Revoke { customer_id, game_ids, on_not_owned: on_not_owned?, cause: cause? };
        Some(Write { request_id: request_id?, command: Command::Revoke(revoke) })
    })();
    fields.finish(write)
}

fn games(fields: &mut Fields, game_ids: &[String], limits: &RequestLimits) -> Option<Vec<GameId>> {
    let limit = limits.changes_per_request;
    if game_ids.is_empty() {
        fields.wrong("game_ids", "must name at least one game");
        return None;
    }
    if game_ids.len() > limit {
        let number = game_ids.len();
        fields.wrong("game_ids", format!("must name at most {limit} games, and names {number}"));
        return None;
    }
    let mut seen = HashSet::with_capacity(game_ids.len());
    let mut games = Vec::with_capacity(game_ids.len());
    for (index, text) in game_ids.iter().enumerate() {
        let Some(game_id) = parse::<GameId>(fields, &format!("game_ids[{index}]"), text) else { continue };
        if seen.insert(game_id.clone()) {
            games.push(game_id);
        } else {
            fields.wrong(format!("game_ids[{index}]"), format!("must not name {text} a second time"));
        }
    }
    (games.len() == game_ids.len()).then_some(games)
}

fn cause(fields: &mut Fields, cause: Option<&wire::Cause>) -> Option<Cause> {
    let Some(cause) = cause else {
        fields.wrong("cause", "must be set");
        return None;
    };
    let actor = fields.take("cause.actor", check_text(&cause.actor, ACTOR_MAX_BYTES));
    let order_id = fields.take("cause.order_id", check_text(&cause.order_id, ORDER_ID_MAX_BYTES));
    let reason = match wire::Reason::try_from(cause.reason) {
        Ok(wire::Reason::Purchase) => Some(Reason::Purchase),
        Ok(wire::Reason::Gift) => Some(Reason::Gift),
        Ok(wire::Reason::Refund) => Some(Reason::Refund),
        Ok(wire::Reason::Chargeback) => Some(Reason::Chargeback),
        Ok(wire::Reason::Promotion) => Some(Reason::Promotion),
        Ok(wire::Reason::Migration) => Some(Reason::Migration),
        Ok(wire::Reason::Unspecified | wire::Reason::Expiry | wire::Reason::Administration) | Err(_) => None,
    };
    if reason.is_none() {
        fields.wrong("cause.reason", "must be a known reason");
    }
    actor.and(order_id)?;
    Some(Cause { reason: reason?, actor: cause.actor.clone(), order_id: cause.order_id.clone() })
}

/// A check as it came in.
pub(super) struct Check {
    pub(super) keys: Vec<Key>,
    pub(super) asked: Asked,
}

pub(super) fn check(request: &wire::CheckOwnershipRequest, limits: &RequestLimits) -> Result<Check, Status> {
    let mut fields = Fields::new();
    let (number, limit) = (request.pairs.len(), limits.pairs_per_check);
    if number == 0 {
        fields.wrong("pairs", "must hold at least one pair");
    }
    let mut keys = Vec::new();
    if number > limit {
        fields.wrong("pairs", format!("must hold at most {limit} pairs, and holds {number}"));
    } else {
        for (index, pair) in request.pairs.iter().enumerate() {
            let customer_id = parse(&mut fields, &format!("pairs[{index}].customer_id"), &pair.customer_id);
            let game_id = parse(&mut fields, &format!("pairs[{index}].game_id"), &pair.game_id);
            keys.extend(customer_id.zip(game_id));
        }
    }
    let asked = freshness(&mut fields, request.freshness.as_ref());
    fields.finish(asked.map(|asked| Check { keys, asked }))
}

/// A list as it came in. Its page token is read when the store is known.
pub(super) struct List {
    pub(super) customer_id: CustomerId,
    pub(super) page_size: u32,
    pub(super) asked: Asked,
}

pub(super) fn list(request: &wire::ListEntitlementsRequest, limits: &RequestLimits) -> Result<List, Status> {
    let mut fields = Fields::new();
    let customer_id = parse(&mut fields, "customer_id", &request.customer_id);
    let page_size = match u32::try_from(request.page_size) {
        Ok(0) => Some(limits.page_size_default),
        Ok(size) if size <= limits.page_size_max => Some(size),
        Ok(size) => {
            fields.wrong("page_size", format!("must be at most {}, and is {size}", limits.page_size_max));
            None
        }
        Err(_) => {
            fields.wrong("page_size", "must not be negative");
            None
        }
    };
    if !request.page_token.is_empty() {
        // Whether it is of this list is judged when the store is known.
        fields.take("page_token", PageStart::check_form(&request.page_token));
    }
    let asked = freshness(&mut fields, request.freshness.as_ref());
    let list = (|| Some(List { customer_id: customer_id?, page_size: page_size?, asked: asked? }))();
    fields.finish(list)
}

fn freshness(fields: &mut Fields, freshness: Option<&Freshness>) -> Option<Asked> {
    match freshness.and_then(|freshness| freshness.requirement.as_ref()) {
        None | Some(Requirement::Strong(_) | Requirement::Any(_)) => Some(Asked::Present),
        Some(Requirement::AtMostOld(age)) => {
            fields.take("freshness.at_most_old", fields::duration(*age)).map(|_| Asked::Present)
        }
        Some(Requirement::AtLeastAsFreshAs(token)) => {
            parse(fields, "freshness.at_least_as_fresh_as", token).map(Asked::AtLeast)
        }
    }
}

/// Where a watch begins, as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchStart {
    Snapshot,
    After(Token),
}

pub(super) fn watch(request: &wire::WatchRequest) -> Result<WatchStart, Status> {
    let mut fields = Fields::new();
    let start = match &request.start {
        None => {
            fields.wrong("start", "must be set: a snapshot, or a token to resume after");
            None
        }
        Some(wire::watch_request::Start::Snapshot(_)) => Some(WatchStart::Snapshot),
        Some(wire::watch_request::Start::AfterToken(token)) => {
            parse(&mut fields, "after_token", token).map(WatchStart::After)
        }
    };
    fields.finish(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tonic_types::StatusExt;

    const LIMITS: RequestLimits = RequestLimits {
        changes_per_request: 3,
        pairs_per_check: 3,
        page_size_default: 10,
        page_size_max: 20,
    };

    fn good() -> wire::GrantRequest {
        wire::GrantRequest {
            request_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            customer_id: "c".to_owned(),
            game_ids: vec!["a".to_owned(), "b".to_owned()],
            on_owned: wire::OnOwned::Skip.into(),
            cause: Some(wire::Cause { reason: wire::Reason::Gift.into(), ..wire::Cause::default() }),
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
            let request = wire::GrantRequest { request_id, customer_id, game_ids, on_owned, cause };
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
}
