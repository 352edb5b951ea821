//! What a refusal becomes on the wire: which item of the request stands against it, and why.

use gameshelf::errors::{ErrorBuilder, Reason, Room, first_of};
use tonic::Status;

use super::requests::Items;
use crate::domain::{Command, Key, Operation, Precondition, RefusalKind, Rules};

/// What an item takes in an error beside its texts.
const ITEM_BYTES: usize = 24;

/// What was judged of a command that cannot be done.
pub(super) struct Refused<'a> {
    pub(super) command: &'a Command,
    /// How the request names the operations of the command.
    pub(super) named: Items,
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
    reservation_id: String,
    /// What of the request it is, such as `operations[2]`, or `game_ids[2]`.
    item: String,
    kind: RefusalKind,
}

impl Named {
    /// About how many bytes it takes in the details.
    fn bytes(&self) -> usize {
        let (_, what, precondition) = told(self.kind);
        let texts = [&self.subject, &self.game_id, &self.item].map(String::len);
        texts.iter().sum::<usize>() + what.len() + precondition.len() + ITEM_BYTES
    }
}

pub(super) fn refused(refused: &Refused<'_>) -> Status {
    let items = refused.items;
    let mut room = Room::default();
    let named: Vec<Named> = items
        .iter()
        .map(|(place, kind)| name(refused.command, refused.named, *place, *kind))
        .take_while(|one| room.take(one.bytes()))
        .collect();
    let kind = items.first().map_or(RefusalKind::AlreadyOwned, |(_, kind)| *kind);
    let (reason, what, _) = told(kind);
    let subjects: Vec<&str> = named.iter().map(|one| one.subject.as_str()).collect();
    let limit = limit(kind, refused.rules);
    let at_most = limit.map_or_else(String::new, |limit| format!(" (at most {limit})"));
    let subjects = first_of(&subjects, items.len());
    let mut error = ErrorBuilder::new(reason, format!("{what}{at_most}: {subjects}"))
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

/// Adds the customer, where all items are of one, and the games; or the reservation.
fn with_ids(error: ErrorBuilder, named: &[Named]) -> ErrorBuilder {
    let games: Vec<&str> =
        named.iter().map(|one| one.game_id.as_str()).filter(|game| !game.is_empty()).collect();
    let customer_id = named.first().map_or("", |one| one.customer_id.as_str());
    let one_customer = !customer_id.is_empty() && named.iter().all(|one| one.customer_id == customer_id);
    let error = if one_customer { error.with("customer_id", customer_id) } else { error };
    let error = if games.is_empty() { error } else { error.with("game_ids", games.join(",")) };
    // No request is about two.
    let reservation_id = named.iter().map(|one| &one.reservation_id).find(|id| !id.is_empty());
    match reservation_id {
        Some(reservation_id) => error.with("reservation_id", reservation_id),
        None => error,
    }
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
fn name(command: &Command, items: Items, place: u32, kind: RefusalKind) -> Named {
    let place = place as usize;
    let named = |item: String, customer_id: &str, game_id: &str, subject: String| Named {
        subject,
        customer_id: customer_id.to_owned(),
        game_id: game_id.to_owned(),
        reservation_id: String::new(),
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
    let item = items.operation(index);
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
        ) => Named {
            reservation_id: reservation_id.to_string(),
            ..named(item, "", "", format!("reservations/{reservation_id}"))
        },
        None => named(item, "", "", String::new()),
    }
}
