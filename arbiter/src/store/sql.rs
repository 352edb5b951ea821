//! Statements that are the same on both stores.

/// Commits a new epoch for a process, where it led last or takes over.
pub(super) const LEAD: &str = "
    UPDATE head SET epoch = epoch + 1, leader_id = $1 WHERE $2 OR leader_id = $1
    RETURNING store_id, incarnation, epoch, revision";

/// The columns of an entitlement, in the order in which both stores read them.
macro_rules! entitlement {
    () => {
        "customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms, from_stock"
    };
}

/// The columns of a reservation.
macro_rules! reservation {
    () => {
        "reservation_id, customer_id, game_id, status, expires_at_ms, from_stock, changed_at, changed_at_ms"
    };
}
pub(super) use reservation;

/// A page of the games of a customer at a revision.
pub(super) const LIST: &str = concat!(
    "SELECT ",
    entitlement!(),
    " FROM entitlement
    WHERE customer_id = $2 AND game_id > $3 AND valid_from <= $1
    UNION ALL
    SELECT ",
    entitlement!(),
    " FROM entitlement_past
    WHERE customer_id = $2 AND game_id > $3 AND valid_from <= $1 AND valid_to > $1
    ORDER BY game_id LIMIT $4"
);

/// A page of everything at a revision. Each table gives no more than a page by itself: a planner that knows nothing of a table yet would
/// sort all of it otherwise, for every page.
pub(super) const SNAPSHOT: &str = concat!(
    "SELECT * FROM (SELECT ",
    entitlement!(),
    " FROM entitlement
    WHERE (customer_id, game_id) > ($2, $3) AND valid_from <= $1
    ORDER BY customer_id, game_id LIMIT $4) AS present
    UNION ALL
    SELECT * FROM (SELECT ",
    entitlement!(),
    " FROM entitlement_past
    WHERE (customer_id, game_id) > ($2, $3) AND valid_from <= $1 AND valid_to > $1
    ORDER BY customer_id, game_id LIMIT $4) AS past
    ORDER BY customer_id, game_id LIMIT $4"
);

/// A page of the ownerships that a customer had by a revision, or only those of one game ($3; empty for all). What began and
/// ended in one commit was owned at no revision.
pub(super) const HISTORY: &str = concat!(
    "SELECT ", entitlement!(), ", NULL AS valid_to, NULL AS ended_at_ms, NULL AS end_reason, NULL AS end_actor,
      NULL AS end_order_id FROM entitlement
    WHERE customer_id = $2 AND ($3 = '' OR game_id = $3) AND valid_from <= $1 AND (valid_from, game_id) > ($4, $5)
    UNION ALL
    SELECT ", entitlement!(), ", valid_to, ended_at_ms, end_reason, end_actor, end_order_id FROM entitlement_past
    WHERE customer_id = $2 AND ($3 = '' OR game_id = $3) AND valid_from <= $1 AND (valid_from, game_id) > ($4, $5)
      AND valid_to > valid_from
    ORDER BY valid_from, game_id LIMIT $6"
);

/// The newest ownership of a game that had begun by a revision.
pub(super) const EXPLAIN: &str = concat!(
    "SELECT ",
    entitlement!(),
    ", NULL AS valid_to, NULL AS ended_at_ms, NULL AS end_reason, NULL AS end_actor,
      NULL AS end_order_id FROM entitlement
    WHERE customer_id = $2 AND game_id = $3 AND valid_from <= $1
    UNION ALL
    SELECT ",
    entitlement!(),
    ", valid_to, ended_at_ms, end_reason, end_actor, end_order_id FROM entitlement_past
    WHERE customer_id = $2 AND game_id = $3 AND valid_from <= $1 AND valid_to > valid_from
    ORDER BY valid_from DESC LIMIT 1"
);

/// When something that a customer owns changed last; $2 is a game, or empty for all.
pub(super) const LAST_CHANGE: &str = "
    SELECT max(revision) FROM (
      SELECT max(valid_from) AS revision FROM entitlement WHERE customer_id = $1 AND ($2 = '' OR game_id = $2)
      UNION ALL
      SELECT max(valid_to) FROM entitlement_past WHERE customer_id = $1 AND ($2 = '' OR game_id = $2)
    ) AS changes";

/// When the next thing ends by itself.
pub(super) const NEXT_DUE: &str = "
    SELECT min(due_ms) FROM (
      SELECT min(ends_at_ms) AS due_ms FROM entitlement WHERE ends_at_ms IS NOT NULL
      UNION ALL
      SELECT min(expires_at_ms) FROM reservation WHERE status = 1
    ) AS due";

/// Ownerships whose time is over.
pub(super) const DUE_OWNERSHIPS: &str = "
    SELECT customer_id, game_id FROM entitlement
    WHERE ends_at_ms IS NOT NULL AND ends_at_ms <= $1 ORDER BY ends_at_ms LIMIT $2";

/// Reservations whose time is over.
pub(super) const DUE_RESERVATIONS: &str = "
    SELECT reservation_id FROM reservation
    WHERE status = 1 AND expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2";

/// The stocks of all limited editions.
pub(super) const STOCKS: &str = "SELECT game_id, total, sold, reserved FROM stock";

/// The next batches of the log.
pub(super) const LOG: &str =
    "SELECT commits FROM change_log WHERE last_revision > $1 ORDER BY last_revision LIMIT $2";

/// What everything added up to when that was written last.
pub(super) const DIGEST_CHECKPOINT: &str = "SELECT revision, sums FROM digest_checkpoint";

/// The copies that were seen last.
pub(super) const COPIES: &str = "
    SELECT name, version, revision, digest_state, repaired_partitions, last_seen_ms FROM copy
    ORDER BY last_seen_ms DESC, name LIMIT $1";

/// Forgets copies that were not seen for long, for the process that leads.
pub(super) const FORGET_COPIES: &str = "
    DELETE FROM copy WHERE last_seen_ms < $1 AND EXISTS (SELECT 1 FROM head WHERE leader_id = $2)";

/// The time before which request ids may have been forgotten.
pub(super) const TRIM_MARK: &str = "SELECT trim_mark_ms FROM head";

/// Raises that time, which never goes back, for the process that leads.
pub(super) const RAISE_TRIM_MARK: &str = "
    UPDATE head SET trim_mark_ms = CASE WHEN trim_mark_ms < $1 THEN $1 ELSE trim_mark_ms END WHERE leader_id = $2";

/// The next request ids, with the times at which they were decided. One that names a reservation is known as long as that
/// is: were it forgotten, another reservation could be opened under it.
pub(super) const REQUESTS: &str = "
    SELECT request_id, decided_at_ms FROM request
    WHERE request_id > $1 AND NOT EXISTS (SELECT 1 FROM reservation WHERE reservation_id = request.request_id)
    ORDER BY request_id LIMIT $2";

/// Forgets a few reservations that were closed before a time.
pub(super) const FORGET_RESERVATIONS: &str = "
    DELETE FROM reservation WHERE reservation_id IN
      (SELECT reservation_id FROM reservation WHERE status <> 1 AND changed_at_ms < $1
       ORDER BY changed_at_ms LIMIT $2)";

/// How large the next batches of the log are.
pub(super) const LOG_ROWS: &str = "
    SELECT last_revision, length(commits) FROM change_log WHERE last_revision > $1 ORDER BY last_revision LIMIT $2";

/// The revision that a reader may resume after.
pub(super) const LOG_MARK: &str = "SELECT log_mark FROM head";

/// Raises that revision, which never goes back, for the process that leads.
pub(super) const RAISE_LOG_MARK: &str = "
    UPDATE head SET log_mark = CASE WHEN log_mark < $1 THEN $1 ELSE log_mark END WHERE leader_id = $2";

/// Deletes a few batches that are below the mark. It is looked up in the same statement, so that nothing else ever goes.
pub(super) const TRIM_LOG: &str = "
    DELETE FROM change_log WHERE last_revision IN
      (SELECT last_revision FROM change_log WHERE last_revision <= (SELECT log_mark FROM head)
       ORDER BY last_revision LIMIT $1)";
