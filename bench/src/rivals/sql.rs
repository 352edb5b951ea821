//! The SQL of services that share one PostgreSQL: the tables, columns, keys and checks of the arbiter, without its
//! sequencer. Revisions come from a sequence, so they have gaps and may become visible out of order; that is less than the
//! arbiter promises, and it is the cheapest that sharing can have.

use std::ops::Range;

/// The tables.
pub(super) const SCHEMA: &str = r#"
    CREATE TABLE entitlement (
        customer_id   TEXT COLLATE "C" NOT NULL,
        game_id       TEXT COLLATE "C" NOT NULL,
        valid_from    BIGINT   NOT NULL,
        granted_at_ms BIGINT   NOT NULL,
        reason        SMALLINT NOT NULL,
        actor         TEXT     NOT NULL,
        order_id      TEXT     NOT NULL,
        ends_at_ms    BIGINT,
        from_stock    BOOLEAN  NOT NULL,
        PRIMARY KEY (customer_id, game_id)
    );
    CREATE INDEX entitlement_by_end ON entitlement (ends_at_ms) WHERE ends_at_ms IS NOT NULL;
    CREATE TABLE request (
        request_id    UUID   NOT NULL PRIMARY KEY,
        content_hash  BYTEA  NOT NULL CHECK (length(content_hash) = 32),
        revision      BIGINT NOT NULL,
        outcome       BYTEA  NOT NULL,
        decided_at_ms BIGINT NOT NULL
    );
    CREATE TABLE change_log (
        last_revision  BIGINT NOT NULL PRIMARY KEY,
        first_revision BIGINT NOT NULL,
        commits        BYTEA  NOT NULL
    );
    CREATE TABLE stock (
        game_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
        total    BIGINT           NOT NULL,
        sold     BIGINT           NOT NULL CHECK (sold >= 0),
        reserved BIGINT           NOT NULL CHECK (reserved >= 0),
        CHECK (sold + reserved <= total)
    );
    CREATE SEQUENCE revision"#;

/// The three inserts of a grant. The first tells the revision, which is the first parameter of the other two.
pub(super) const INSERT_ENTITLEMENT: &str = "
    INSERT INTO entitlement
      (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms, from_stock)
    VALUES ($1, $2, nextval('revision'), $3, $4, $5, $6, $7, $8) RETURNING valid_from";

pub(super) const INSERT_REQUEST: &str = "
    INSERT INTO request (revision, request_id, content_hash, outcome, decided_at_ms) VALUES ($1, $2, $3, $4, $5)";

pub(super) const INSERT_LOG: &str =
    "INSERT INTO change_log (last_revision, first_revision, commits) VALUES ($1, $1, $2)";

/// The same in one statement, which commits by itself: one crossing instead of five.
pub(super) const GRANT_FOLDED: &str = "
    WITH granted AS (
      INSERT INTO entitlement
        (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms, from_stock)
      VALUES ($1, $2, nextval('revision'), $3, $4, $5, $6, $7, $8) RETURNING valid_from
    ), remembered AS (
      INSERT INTO request (request_id, content_hash, revision, outcome, decided_at_ms)
      SELECT $9, $10, valid_from, $11, $12 FROM granted
    )
    INSERT INTO change_log (last_revision, first_revision, commits)
    SELECT valid_from, valid_from, $13 FROM granted RETURNING last_revision";

/// Takes a copy of a limited edition, where one is left. It comes first: the row's lock makes those behind it wait
/// before they have written anything, and nobody can wait in a ring.
pub(super) const TAKE_COPY: &str =
    "UPDATE stock SET sold = sold + 1 WHERE game_id = $1 AND sold + reserved < total";

/// The games of a customer.
pub(super) const SELECT_LIST: &str = "
    SELECT game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms FROM entitlement
    WHERE customer_id = $1 ORDER BY game_id LIMIT 101";

/// A limited edition with this many copies.
pub(super) fn set_stock(game: &str, copies: u64) -> String {
    format!("INSERT INTO stock (game_id, total, sold, reserved) VALUES ('{game}', {copies}, 0, 0)")
}

/// Customers who each have the same games, as if each had been given all of them in one request: the rows that the
/// arbiter has after the same requests. The ids of those requests are of version 7, a millisecond apart.
pub(super) fn fill(prefix: &str, customers: &Range<u64>, games: u64) -> String {
    let (from, to) = (customers.start, customers.end);
    let of_customers = format!("FROM start, generate_series({from}, {to} - 1) AS customer");
    format!(
        r"CREATE TEMPORARY TABLE start AS SELECT last_value + 1 - {from} AS at FROM revision;
        INSERT INTO entitlement
        SELECT '{prefix}' || lpad(customer::text, 12, '0'), 'game-' || lpad(game::text, 12, '0'),
          start.at + customer, 1700000000000 + customer, 1, 'bench', '', NULL, false
        {of_customers}, generate_series(0, {games} - 1) AS game ORDER BY customer, game;
        INSERT INTO request
        SELECT (lpad(to_hex(1700000000000 + customer), 12, '0') || '7' || substr(md5(customer::text), 1, 3)
            || '8' || substr(md5(customer::text), 4, 15))::uuid,
          sha256(customer::text::bytea), start.at + customer, '\x120101', 1700000000000 + customer
        {of_customers};
        INSERT INTO change_log
        SELECT start.at + customer, start.at + customer, decode(repeat('ab', 60 + 20 * {games}), 'hex')
        {of_customers};
        SELECT setval('revision', start.at + {to} - 1) FROM start;
        DROP TABLE start"
    )
}
