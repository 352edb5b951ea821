//! Parts that several requests have.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use gameshelf::fields::{self, Fields, Limit, Wrong};
use gameshelf::ids::check_text;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::freshness::v1::{Freshness, freshness::Requirement};

use super::{Asked, RequestLimits};
use crate::domain::{Cause, GameId, Key, OnNothingToDo, Reason};

/// The most bytes of an actor.
const ACTOR_MAX_BYTES: usize = 128;
/// The most bytes of an order id.
const ORDER_ID_MAX_BYTES: usize = 64;

pub(super) fn parse<T: FromStr<Err: Wrong>>(fields: &mut Fields, name: &str, text: &str) -> Option<T> {
    fields.take(name, text.parse::<T>())
}

/// A customer and a game; `prefix` is what their names begin with.
pub(super) fn key(fields: &mut Fields, prefix: &str, customer_id: &str, game_id: &str) -> Option<Key> {
    let customer_id = parse(fields, &format!("{prefix}customer_id"), customer_id);
    let game_id = parse(fields, &format!("{prefix}game_id"), game_id);
    customer_id.zip(game_id)
}

/// A field is wrong, which is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted;

/// A game, or none where the text is empty.
pub(super) fn optional_game(fields: &mut Fields, name: &str, text: &str) -> Result<Option<GameId>, Noted> {
    if text.is_empty() { Ok(None) } else { parse(fields, name, text).map(Some).ok_or(Noted) }
}

/// Each once, and no more than the limit.
pub(super) fn games(fields: &mut Fields, game_ids: &[String], limits: &RequestLimits) -> Option<Vec<GameId>> {
    let limit = limits.changes_per_request;
    if game_ids.is_empty() {
        fields.wrong("game_ids", "must name at least one game");
        return None;
    }
    if game_ids.len() > limit {
        let number = game_ids.len();
        let told = format!("must name at most {limit} games, and names {number}");
        fields.beyond("game_ids", Limit::number(number, limit), told);
        return None;
    }
    if let [game_id] = game_ids {
        return parse(fields, "game_ids[0]", game_id).map(|game_id| vec![game_id]);
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

pub(super) fn cause(fields: &mut Fields, cause: Option<&wire::Cause>) -> Option<Arc<Cause>> {
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
        Ok(wire::Reason::Administration) => Some(Reason::Administration),
        // An expiry is the arbiter's own.
        Ok(wire::Reason::Unspecified | wire::Reason::Expiry) | Err(_) => None,
    };
    if reason.is_none() {
        fields.wrong("cause.reason", "must be a known reason, and not EXPIRY");
    }
    actor.and(order_id)?;
    let (actor, order_id) = (cause.actor.clone(), cause.order_id.clone());
    Some(Arc::new(Cause { reason: reason?, actor, order_id }))
}

pub(super) fn on_owned(fields: &mut Fields, name: &str, value: i32) -> Option<OnNothingToDo> {
    match wire::OnOwned::try_from(value) {
        Ok(wire::OnOwned::Unspecified | wire::OnOwned::Refuse) => Some(OnNothingToDo::Refuse),
        Ok(wire::OnOwned::Skip) => Some(OnNothingToDo::Skip),
        Err(_) => {
            fields.wrong(name, "must be a known value");
            None
        }
    }
}

pub(super) fn on_not_owned(fields: &mut Fields, name: &str, value: i32) -> Option<OnNothingToDo> {
    match wire::OnNotOwned::try_from(value) {
        Ok(wire::OnNotOwned::Unspecified | wire::OnNotOwned::Refuse) => Some(OnNothingToDo::Refuse),
        Ok(wire::OnNotOwned::Skip) => Some(OnNothingToDo::Skip),
        Err(_) => {
            fields.wrong(name, "must be a known value");
            None
        }
    }
}

/// A time in milliseconds since 1970, or none where it is not set.
pub(super) fn time_ms(
    fields: &mut Fields,
    name: &str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<u64>, Noted> {
    let Some(time) = time else { return Ok(None) };
    fields.take(name, unix_ms(time)).map(Some).ok_or(Noted)
}

/// A time in milliseconds since 1970.
pub(super) fn unix_ms(time: &prost_types::Timestamp) -> Result<u64, &'static str> {
    u64::try_from(time.seconds)
        .ok()
        .zip(u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000))
        // The last second of the year 9999 is the last of a Timestamp.
        .filter(|(seconds, _)| *seconds < 253_402_300_800)
        .map(|(seconds, nanos)| seconds * 1_000 + nanos / 1_000_000)
        .ok_or("must be a time from 1970 to 9999")
}

pub(super) fn page_size(fields: &mut Fields, page_size: i32, limits: &RequestLimits) -> Option<u32> {
    let size = fields::page_size(page_size, limits.page_size_default, limits.page_size_max);
    fields.take("page_size", size)
}

pub(super) fn freshness(fields: &mut Fields, freshness: Option<&Freshness>) -> Option<Asked> {
    match freshness.and_then(|freshness| freshness.requirement.as_ref()) {
        None | Some(Requirement::Strong(_)) => Some(Asked::Strong),
        Some(Requirement::Any(_)) => Some(Asked::Any),
        Some(Requirement::AtMostOld(age)) => {
            fields.take("freshness.at_most_old", fields::duration(*age)).map(Asked::AtMostOld)
        }
        Some(Requirement::AtLeastAsFreshAs(token)) => {
            parse(fields, "freshness.at_least_as_fresh_as", token).map(Asked::AtLeast)
        }
    }
}
