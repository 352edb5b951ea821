//! What a refusal becomes on the wire: which item of the request stands against it, and why.

use gameshelf::errors::{ErrorBuilder, Reason};
use tonic::Status;

use crate::domain::{Command, Key, Operation, Precondition, RefusalKind, Rules};

/// The most items that a refusal names: the details travel in a header, which has a limit.
const ITEMS_NAMED: usize = 8;

/// What was judged of a command that cannot be done.
pub(super) struct Refused<'a> {
    pub(super) command: &'a Command,
    /// By their place: preconditions are counted first, then operations.
    pub(super) items: &'a [(u32, RefusalKind)],
    pub(super) rules: &'a Rules,
    pub(super) revision: u64,
    pub(super) token: String,
    pub(super) replayed: bool,
}

/// Something that stands against a request.
struct Named {
    /// Such as `customers/c/games/g`.
    subject: String,
    customer_id: String,
    game_id: String,
    /// The place of the item in the request, such as `operations[2]`.
    item: String,
    kind: RefusalKind,
}

pub(super) fn refused(refused: &Refused<'_>) -> Status {
    let items = refused.items;
    let named: Vec<Named> =
        items.iter().take(ITEMS_NAMED).map(|(place, kind)| name(refused.command, *place, *kind)).collect();
    let kind = items.first().map_or(RefusalKind::AlreadyOwned, |(_, kind)| *kind);
    let (reason, what, _) = told(kind);
    let subjects: Vec<&str> = named.iter().map(|one| one.subject.as_str()).collect();
    let more = match items.len().saturating_sub(ITEMS_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let limit = limit(kind, refused.rules);
    let at_most = limit.map_or_else(String::new, |limit| format!(" (at most {limit})"));
    let mut error = ErrorBuilder::new(reason, format!("{what}{at_most}: {}{more}", subjects.join(", ")))
        .with("items", named.iter().map(|one| one.item.as_str()).collect::<Vec<_>>().join(","))
        .with("refused", items.len())
        .with("revision", refused.revision)
        .with("token", &refused.token)
        .with("replayed", refused.replayed);
    if let Some(limit) = limit {
        error = error.with("limit", limit);
    }
    error = with_ids(error, &named);
    for one in &named {
        let (_, what, precondition) = told(one.kind);
        error = error.failed_precondition(precondition, &one.subject, what);
    }
    error.build()
}

/// Adds the customer, where all items are of one, and the games.
fn with_ids(error: ErrorBuilder, named: &[Named]) -> ErrorBuilder {
    let games: Vec<&str> =
        named.iter().map(|one| one.game_id.as_str()).filter(|game| !game.is_empty()).collect();
    let customer_id = named.first().map_or("", |one| one.customer_id.as_str());
    let one_customer = !customer_id.is_empty() && named.iter().all(|one| one.customer_id == customer_id);
    let error = if one_customer { error.with("customer_id", customer_id) } else { error };
    if games.is_empty() { error } else { error.with("game_ids", games.join(",")) }
}

/// The limit that was reached.
fn limit(kind: RefusalKind, rules: &Rules) -> Option<usize> {
    match kind {
        RefusalKind::ReservationLimit => Some(rules.reservations_per_customer),
        RefusalKind::StockLimit => Some(rules.limited_editions),
        _ => None,
    }
}

/// The reason, what it says to a person, and the type of the precondition that failed.
pub(super) fn told(kind: RefusalKind) -> (Reason, &'static str, &'static str) {
    match kind {
        RefusalKind::AlreadyOwned => {
            (Reason::AlreadyOwned, "the customer owns the game already", "NOT_OWNED")
        }
        RefusalKind::NotOwned => (Reason::NotOwned, "the customer does not own the game", "OWNED"),
        RefusalKind::ChangedSince => {
            (Reason::ChangedSince, "what the customer owns has changed since", "UNCHANGED_SINCE")
        }
        RefusalKind::OutOfStock => (Reason::OutOfStock, "no copy of the game is left", "IN_STOCK"),
        RefusalKind::EndTimePassed => (Reason::EndTimePassed, "the end time is past", "END_TIME_TO_COME"),
        RefusalKind::AlreadyReserved => {
            (Reason::AlreadyReserved, "the customer has an open reservation of the game", "NOT_RESERVED")
        }
        RefusalKind::ReservationLimit => (
            Reason::ReservationLimit,
            "the customer has as many open reservations as there may be",
            "RESERVATION_LIMIT",
        ),
        RefusalKind::ReservationUnknown => {
            (Reason::ReservationUnknown, "there is no such reservation", "RESERVATION_OPEN")
        }
        RefusalKind::ReservationClosed => (
            Reason::ReservationClosed,
            "the reservation is confirmed or released already",
            "RESERVATION_OPEN",
        ),
        RefusalKind::ReservationExpired => {
            (Reason::ReservationExpired, "the time of the reservation ran out", "RESERVATION_OPEN")
        }
        RefusalKind::StockBelowSold => {
            (Reason::StockBelowSold, "more copies are sold and reserved", "STOCK_NOT_BELOW_SOLD")
        }
        RefusalKind::StockLimit => {
            (Reason::StockLimit, "there are as many limited editions as there may be", "STOCK_LIMIT")
        }
        RefusalKind::RevisionUnknown => {
            (Reason::RevisionUnknown, "the revision is beyond the newest one", "UNCHANGED_SINCE")
        }
    }
}

/// What the item at a place is about.
fn name(command: &Command, place: u32, kind: RefusalKind) -> Named {
    let place = place as usize;
    let named = |item: String, customer_id: &str, game_id: &str, subject: String| Named {
        subject,
        customer_id: customer_id.to_owned(),
        game_id: game_id.to_owned(),
        item,
        kind,
    };
    let of_key = |item: String, (customer_id, game_id): &Key| {
        let subject = format!("customers/{customer_id}/games/{game_id}");
        named(item, customer_id.as_str(), game_id.as_str(), subject)
    };
    if let Some(precondition) = command.preconditions.get(place) {
        let item = format!("preconditions[{place}]");
        return match precondition {
            Precondition::NotOwned(key) | Precondition::Owned(key) => of_key(item, key),
            Precondition::UnchangedSince { customer_id, game_id: Some(game_id), .. } => {
                of_key(item, &(customer_id.clone(), game_id.clone()))
            }
            Precondition::UnchangedSince { customer_id, game_id: None, .. } => {
                named(item, customer_id.as_str(), "", format!("customers/{customer_id}"))
            }
        };
    }
    let index = place - command.preconditions.len();
    let item = format!("operations[{index}]");
    match command.operations.get(index) {
        Some(
            Operation::Grant { key, .. }
            | Operation::Revoke { key, .. }
            | Operation::Reserve { key, .. }
            | Operation::End { key },
        ) => of_key(item, key),
        // It is refused because the one does not own the game, or because the other one does.
        Some(Operation::Transfer { from, to, game_id }) => {
            let customer_id = if kind == RefusalKind::AlreadyOwned { to } else { from };
            of_key(item, &(customer_id.clone(), game_id.clone()))
        }
        Some(Operation::SetStock { game_id, .. }) => {
            named(item, "", game_id.as_str(), format!("stocks/{game_id}"))
        }
        Some(
            Operation::Confirm { reservation_id }
            | Operation::Release { reservation_id }
            | Operation::Expire { reservation_id },
        ) => named(item, "", "", format!("reservations/{reservation_id}")),
        None => named(item, "", "", String::new()),
    }
}
