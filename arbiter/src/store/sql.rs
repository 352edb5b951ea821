//! Statements that are the same on both stores.

/// Commits a new epoch for a process, where it led last or takes over.
pub(super) const LEAD: &str = "
    UPDATE head SET epoch = epoch + 1, leader_id = $1 WHERE $2 OR leader_id = $1
    RETURNING store_id, incarnation, epoch, revision";

/// A page of the games of a customer at a revision.
pub(super) const LIST: &str = "
    SELECT customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id FROM entitlement
    WHERE customer_id = $2 AND game_id > $3 AND valid_from <= $1
    UNION ALL
    SELECT customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id FROM entitlement_past
    WHERE customer_id = $2 AND game_id > $3 AND valid_from <= $1 AND valid_to > $1
    ORDER BY game_id LIMIT $4";

/// A page of everything at a revision.
pub(super) const SNAPSHOT: &str = "
    SELECT customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id FROM entitlement
    WHERE (customer_id, game_id) > ($2, $3) AND valid_from <= $1
    UNION ALL
    SELECT customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id FROM entitlement_past
    WHERE (customer_id, game_id) > ($2, $3) AND valid_from <= $1 AND valid_to > $1
    ORDER BY customer_id, game_id LIMIT $4";

/// The next batches of the log.
pub(super) const LOG: &str =
    "SELECT commits FROM change_log WHERE last_revision > $1 ORDER BY last_revision LIMIT $2";
