//! Requests that read.

use gameshelf::fields::{Fields, Limit};
use gameshelf::proto::arbiter::v1 as wire;
use tonic::Status;

use super::parts::{freshness, key, optional_game, page_size, parse};
use super::{Asked, RequestLimits};
use crate::domain::{CustomerId, GameId, Key, ReservationId, Revision, Subject};
use crate::grpc::paging::check_form;

/// A check as it came in.
#[derive(Debug)]
pub(in super::super) struct Check {
    pub(in super::super) keys: Vec<Key>,
    pub(in super::super) asked: Asked,
}

pub(in super::super) fn check(
    request: &wire::CheckOwnershipRequest,
    limits: &RequestLimits,
) -> Result<Check, Status> {
    let mut fields = Fields::new();
    let (number, limit) = (request.pairs.len(), limits.pairs_per_check);
    if number == 0 {
        fields.wrong("pairs", "must hold at least one pair");
    }
    let mut keys = Vec::new();
    if number > limit {
        let told = format!("must hold at most {limit} pairs, and holds {number}");
        fields.beyond("pairs", Limit::number(number, limit), told);
    } else {
        for (index, pair) in request.pairs.iter().enumerate() {
            keys.extend(key(&mut fields, &format!("pairs[{index}]."), &pair.customer_id, &pair.game_id));
        }
    }
    let asked = freshness(&mut fields, request.freshness.as_ref());
    fields.finish(asked.map(|asked| Check { keys, asked }))
}

/// A list as it came in. Its page token is read when the store is known.
#[derive(Debug)]
pub(in super::super) struct List {
    pub(in super::super) customer_id: CustomerId,
    pub(in super::super) page_size: u32,
    pub(in super::super) asked: Asked,
    /// 0 for the list as it is.
    pub(in super::super) as_of: Revision,
}

pub(in super::super) fn list(
    request: &wire::ListEntitlementsRequest,
    limits: &RequestLimits,
) -> Result<List, Status> {
    let mut fields = Fields::new();
    let customer_id = parse(&mut fields, "customer_id", &request.customer_id);
    let page_size = page_size(&mut fields, request.page_size, limits);
    page_token(&mut fields, &request.page_token);
    let asked = freshness(&mut fields, request.freshness.as_ref());
    let list = (|| {
        let (customer_id, page_size, asked) = (customer_id?, page_size?, asked?);
        Some(List { customer_id, page_size, asked, as_of: request.as_of_revision })
    })();
    fields.finish(list)
}

/// Checks the form of a page token. Whether it is of this list is judged when the store is known.
fn page_token(fields: &mut Fields, text: &str) {
    if !text.is_empty() {
        fields.take("page_token", check_form(text));
    }
}

/// A history as it came in. Its page token is read when the store is known.
#[derive(Debug)]
pub(in super::super) struct History {
    pub(in super::super) subject: Subject,
    pub(in super::super) page_size: u32,
    pub(in super::super) asked: Asked,
}

pub(in super::super) fn history(
    request: &wire::ListHistoryRequest,
    limits: &RequestLimits,
) -> Result<History, Status> {
    let mut fields = Fields::new();
    let customer_id: Option<CustomerId> = parse(&mut fields, "customer_id", &request.customer_id);
    let game_id = optional_game(&mut fields, "game_id", &request.game_id);
    let page_size = page_size(&mut fields, request.page_size, limits);
    page_token(&mut fields, &request.page_token);
    let asked = freshness(&mut fields, request.freshness.as_ref());
    let history = (|| {
        let subject = (customer_id?, game_id.ok()?);
        Some(History { subject, page_size: page_size?, asked: asked? })
    })();
    fields.finish(history)
}

/// A question for the reason of an ownership as it came in.
#[derive(Debug)]
pub(in super::super) struct Explain {
    pub(in super::super) key: Key,
    pub(in super::super) asked: Asked,
    /// 0 for the present.
    pub(in super::super) as_of: Revision,
}

pub(in super::super) fn explain(request: &wire::ExplainOwnershipRequest) -> Result<Explain, Status> {
    let mut fields = Fields::new();
    let key = key(&mut fields, "", &request.customer_id, &request.game_id);
    let asked = freshness(&mut fields, request.freshness.as_ref());
    let as_of = request.as_of_revision;
    fields.finish(key.zip(asked).map(|(key, asked)| Explain { key, asked, as_of }))
}

pub(in super::super) fn reservation(
    request: &wire::GetReservationRequest,
) -> Result<(ReservationId, Asked), Status> {
    let mut fields = Fields::new();
    let reservation_id = parse(&mut fields, "reservation_id", &request.reservation_id);
    let asked = freshness(&mut fields, request.freshness.as_ref());
    fields.finish(reservation_id.zip(asked))
}

pub(in super::super) fn stock(request: &wire::GetStockRequest) -> Result<(GameId, Asked), Status> {
    let mut fields = Fields::new();
    let game_id = parse(&mut fields, "game_id", &request.game_id);
    let asked = freshness(&mut fields, request.freshness.as_ref());
    fields.finish(game_id.zip(asked))
}
