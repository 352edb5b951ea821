//! Puts together what waits in memory and what is in the tables.
//!
//! The memory is looked at first, so a row that was carried over meanwhile may stand in both, and one that ended meanwhile may be in
//! the past already: what a table says counts.

use std::cmp::Ordering;

use super::super::HistoryPlace;
use crate::domain::{Entitlement, Ownership};

/// A page of both, ordered by customer and game.
pub(super) fn entitlements(
    table: Vec<Entitlement>,
    waiting: Vec<Entitlement>,
    limit: usize,
) -> Vec<Entitlement> {
    by(table, waiting, limit, |one, other| {
        (&one.customer_id, &one.game_id).cmp(&(&other.customer_id, &other.game_id))
    })
}

/// A page of a customer's ownerships of both, ordered by when they began and by game, those after `after`.
pub(super) fn ownerships(
    table: Vec<Ownership>,
    waiting: Vec<Entitlement>,
    after: Option<&HistoryPlace>,
    limit: usize,
) -> Vec<Ownership> {
    let waiting = waiting.into_iter().filter(|one| {
        after.is_none_or(|after| (one.valid_from, &one.game_id) > (after.began, &after.game_id))
    });
    let waiting = waiting.map(|entitlement| Ownership { entitlement, end: None }).collect();
    by(table, waiting, limit, |one, other| {
        let place = |one: &Ownership| (one.entitlement.valid_from, one.entitlement.game_id.clone());
        place(one).cmp(&place(other))
    })
}

/// The one that began last.
pub(super) fn newest(table: Option<Ownership>, waiting: Option<Entitlement>) -> Option<Ownership> {
    match (table, waiting) {
        (Some(table), Some(waiting)) if table.entitlement.valid_from >= waiting.valid_from => Some(table),
        (_, Some(entitlement)) => Some(Ownership { entitlement, end: None }),
        (table, None) => table,
    }
}

/// The first ones of both in an order, each once.
fn by<T>(mut table: Vec<T>, waiting: Vec<T>, limit: usize, order: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if !waiting.is_empty() {
        table.extend(waiting);
        // It keeps the order of what is equal, so the table's comes first.
        table.sort_by(&order);
        table.dedup_by(|second, first| order(first, second) == Ordering::Equal);
        table.truncate(limit);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Cause, End, Reason, Revision};

    fn one(game: &str, valid_from: Revision) -> Entitlement {
        let cause = Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() };
        Entitlement {
            customer_id: "c".parse().unwrap(),
            game_id: game.parse().unwrap(),
            valid_from,
            granted_at_ms: 1,
            cause: Arc::new(cause),
            ends_at_ms: None,
            from_stock: false,
        }
    }

    fn ended(game: &str, valid_from: Revision) -> Ownership {
        let entitlement = one(game, valid_from);
        let end = End { valid_to: valid_from + 1, ended_at_ms: 2, cause: Arc::clone(&entitlement.cause) };
        Ownership { entitlement, end: Some(end) }
    }

    #[test]
    fn a_row_that_was_carried_over_meanwhile_counts_once() {
        let games =
            |page: Vec<Entitlement>| page.iter().map(|one| one.game_id.to_string()).collect::<Vec<_>>();
        let page = || (vec![one("b", 2), one("d", 4)], vec![one("a", 1), one("b", 2), one("c", 3)]);
        let (table, waiting) = page();
        assert_eq!(games(entitlements(table, waiting, 9)), ["a", "b", "c", "d"]);
        let (table, waiting) = page();
        assert_eq!(games(entitlements(table, waiting, 3)), ["a", "b", "c"]);
    }

    #[test]
    fn what_ended_meanwhile_has_its_end() {
        let place = HistoryPlace { began: 1, game_id: "b".parse().unwrap() };
        let waiting = || vec![one("a", 1), one("b", 1), one("a", 2), one("c", 3)];
        let page = ownerships(vec![ended("a", 2)], waiting(), Some(&place), 9);
        let shown: Vec<_> = page.iter().map(|one| (one.entitlement.valid_from, one.end.is_some())).collect();
        assert_eq!(shown, [(2, true), (3, false)]);

        assert_eq!(newest(Some(ended("a", 2)), Some(one("a", 2))), Some(ended("a", 2)));
        let waiting = Ownership { entitlement: one("a", 3), end: None };
        assert_eq!(newest(Some(ended("a", 2)), Some(one("a", 3))), Some(waiting.clone()));
        assert_eq!(newest(None, Some(one("a", 3))), Some(waiting));
        assert_eq!(newest(Some(ended("a", 2)), None), Some(ended("a", 2)));
    }
}
