//! Writes a batch: one statement, which is the whole transaction.
//!
//! It is put together of those parts that the batch has, since each part costs the server time even where it has no rows. The
//! driver keeps each form that occurs as a prepared statement.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row};
use uuid::Uuid;

use super::super::error::{is_answer, is_conflict};
use super::super::record::{self, signed};
use super::super::{Batch, CommitError, Head, StoreError};
use super::key_columns;
use crate::domain::{Entitlement, PastEntitlement, Reservation, Stock};
use crate::store::StoredRequest;

/// The first part: nothing else is written unless the head is what this process left.
const ADVANCE: &str =
    "WITH advanced AS (UPDATE head SET revision = $1 WHERE epoch = $2 AND revision = $3 RETURNING revision)";

/// A part of the statement: its name, and its text around the arrays of its columns.
struct Part {
    name: &'static str,
    before: &'static str,
    columns: &'static [&'static str],
    after: &'static str,
}

const INSERTED: Part = Part {
    name: "inserted",
    before: "INSERT INTO entitlement (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms,
        from_stock) SELECT input.* FROM advanced, unnest",
    columns: ENTITLEMENT,
    after: "AS input",
};

const ENTITLEMENT: &[&str] =
    &["text", "text", "bigint", "bigint", "smallint", "text", "text", "bigint", "boolean"];

const REPLACED: Part = Part {
    name: "replaced",
    before: "UPDATE entitlement SET valid_from = input.valid_from, granted_at_ms = input.granted_at_ms,
        reason = input.reason, actor = input.actor, order_id = input.order_id, ends_at_ms = input.ends_at_ms,
        from_stock = input.from_stock FROM advanced, unnest",
    columns: ENTITLEMENT,
    after: r#"AS input (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms, from_stock)
        WHERE entitlement.customer_id = input.customer_id COLLATE "C" AND entitlement.game_id = input.game_id COLLATE "C""#,
};

const REMOVED: Part = Part {
    name: "removed",
    before: "DELETE FROM entitlement USING advanced, unnest",
    columns: &["text", "text"],
    after: r#"AS input (customer_id, game_id)
        WHERE entitlement.customer_id = input.customer_id COLLATE "C" AND entitlement.game_id = input.game_id COLLATE "C""#,
};

const PAST: Part = Part {
    name: "past",
    before: "INSERT INTO entitlement_past (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id,
        ends_at_ms, from_stock, valid_to, ended_at_ms, end_reason, end_actor, end_order_id)
        SELECT input.* FROM advanced, unnest",
    columns: &[
        "text", "text", "bigint", "bigint", "smallint", "text", "text", "bigint", "boolean", "bigint", "bigint",
        "smallint", "text", "text",
    ],
    after: "AS input",
};

const RESERVATIONS: Part = Part {
    name: "reservations",
    before: "INSERT INTO reservation (reservation_id, customer_id, game_id, status, expires_at_ms, from_stock, changed_at,
        changed_at_ms) SELECT input.* FROM advanced, unnest",
    columns: &["uuid", "text", "text", "smallint", "bigint", "boolean", "bigint", "bigint"],
    after: "AS input ON CONFLICT (reservation_id) DO UPDATE SET status = excluded.status,
        changed_at = excluded.changed_at, changed_at_ms = excluded.changed_at_ms",
};

const STOCKS: Part = Part {
    name: "stocks",
    before: "INSERT INTO stock (game_id, total, sold, reserved) SELECT input.* FROM advanced, unnest",
    columns: &["text", "bigint", "bigint", "bigint"],
    after: "AS input ON CONFLICT (game_id) DO UPDATE SET total = excluded.total, sold = excluded.sold,
        reserved = excluded.reserved",
};

const REQUESTS: Part = Part {
    name: "requests",
    before: "INSERT INTO request (request_id, content_hash, revision, outcome, decided_at_ms)
        SELECT input.* FROM advanced, unnest",
    columns: &["uuid", "bytea", "bigint", "bytea", "bigint"],
    after: "AS input",
};

/// The parts that a batch has, in the order in which their columns are bound.
fn parts(batch: &Batch) -> impl Iterator<Item = &'static Part> {
    let effects = &batch.effects;
    [
        (&INSERTED, effects.inserted.is_empty()),
        (&REPLACED, effects.replaced.is_empty()),
        (&REMOVED, effects.removed.is_empty()),
        (&PAST, effects.past.is_empty()),
        (&RESERVATIONS, effects.reservations.is_empty()),
        (&STOCKS, effects.stocks.is_empty()),
        (&REQUESTS, batch.requests.is_empty()),
    ]
    .into_iter()
    .filter_map(|(part, is_empty)| (!is_empty).then_some(part))
}

/// The statement of the parts. Parameters 1 to 3 are the head's; then, where there are any, two of the log and two of the checkpoint.
fn statement(batch: &Batch) -> String {
    let mut text = ADVANCE.to_owned();
    let mut parameter = 3;
    if !batch.commits.is_empty() {
        text += ", logged AS (INSERT INTO change_log (last_revision, first_revision, commits)
            SELECT $1, $4, $5 FROM advanced)";
        parameter += 2;
    }
    if batch.checkpoint.is_some() {
        let (revision, sums) = (parameter + 1, parameter + 2);
        let checkpoint = format!(
            ", checkpointed AS (INSERT INTO digest_checkpoint (singleton, revision, sums)
            SELECT 1, ${revision}, ${sums} FROM advanced
            ON CONFLICT (singleton) DO UPDATE SET revision = excluded.revision, sums = excluded.sums)"
        );
        text.push_str(&checkpoint);
        parameter += 2;
    }
    for part in parts(batch) {
        let arrays = part.columns.iter().map(|column| {
            parameter += 1;
            format!("${parameter}::{column}[]")
        });
        let arrays = arrays.collect::<Vec<_>>().join(", ");
        text.extend([", ", part.name, " AS (", part.before, "(", &arrays, ") ", part.after, ")"]);
    }
    text + " SELECT count(*) FROM advanced"
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

fn column<T, V>(rows: &[T], value: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

fn bind_entitlements<'q>(query: Bound<'q>, rows: &[&'q Entitlement]) -> Bound<'q> {
    query
        .bind(column(rows, |one| one.customer_id.as_str()))
        .bind(column(rows, |one| one.game_id.as_str()))
        .bind(column(rows, |one| signed(one.valid_from)))
        .bind(column(rows, |one| signed(one.granted_at_ms)))
        .bind(column(rows, |one| one.cause.reason.number()))
        .bind(column(rows, |one| one.cause.actor.as_str()))
        .bind(column(rows, |one| one.cause.order_id.as_str()))
        .bind(column(rows, |one| one.ends_at_ms.map(signed)))
        .bind(column(rows, |one| one.from_stock))
}

fn bind_past<'q>(query: Bound<'q>, past: &'q [PastEntitlement]) -> Bound<'q> {
    let entitlements: Vec<&Entitlement> = past.iter().map(|past| &*past.entitlement).collect();
    bind_entitlements(query, &entitlements)
        .bind(column(past, |past| signed(past.end.valid_to)))
        .bind(column(past, |past| signed(past.end.ended_at_ms)))
        .bind(column(past, |past| past.end.cause.reason.number()))
        .bind(past.iter().map(|past| past.end.cause.actor.as_str()).collect::<Vec<_>>())
        .bind(past.iter().map(|past| past.end.cause.order_id.as_str()).collect::<Vec<_>>())
}

fn bind_reservations<'q>(query: Bound<'q>, reservations: &'q [Reservation]) -> Bound<'q> {
    query
        .bind(column(reservations, |one| one.reservation_id.as_uuid()))
        .bind(reservations.iter().map(|one| one.customer_id.as_str()).collect::<Vec<_>>())
        .bind(reservations.iter().map(|one| one.game_id.as_str()).collect::<Vec<_>>())
        .bind(column(reservations, |one| one.status.number()))
        .bind(column(reservations, |one| signed(one.expires_at_ms)))
        .bind(column(reservations, |one| one.from_stock))
        .bind(column(reservations, |one| signed(one.changed_at)))
        .bind(column(reservations, |one| signed(one.changed_at_ms)))
}

fn bind_stocks<'q>(query: Bound<'q>, stocks: &'q [Stock]) -> Bound<'q> {
    query
        .bind(stocks.iter().map(|stock| stock.game_id.as_str()).collect::<Vec<_>>())
        .bind(column(stocks, |stock| signed(stock.total)))
        .bind(column(stocks, |stock| signed(stock.sold)))
        .bind(column(stocks, |stock| signed(stock.reserved)))
}

fn bind_requests<'q>(query: Bound<'q>, requests: &'q [std::sync::Arc<StoredRequest>]) -> Bound<'q> {
    query
        .bind(column(requests, |request| -> Uuid { request.request_id.as_uuid() }))
        .bind(requests.iter().map(|request| &request.content_hash[..]).collect::<Vec<_>>())
        .bind(column(requests, |request| signed(request.outcome.revision)))
        .bind(column(requests, |request| record::encode_verdict(&request.outcome.verdict)))
        .bind(column(requests, |request| signed(request.decided_at_ms)))
}

/// Binds everything that [`statement`] has parameters for, in the same order.
fn bind<'q>(mut query: Bound<'q>, head: &Head, batch: &'q Batch) -> Bound<'q> {
    let last = batch.commits.last().map_or(head.revision, |commit| commit.revision);
    query = query.bind(signed(last)).bind(signed(head.epoch)).bind(signed(head.revision));
    if let Some(first) = batch.commits.first() {
        query = query.bind(signed(first.revision)).bind(record::encode_commits(&batch.commits));
    }
    if let Some(sums) = &batch.checkpoint {
        query = query.bind(signed(sums.revision)).bind(record::encode_sums(sums));
    }
    let effects = &batch.effects;
    for entitlements in [&effects.inserted, &effects.replaced] {
        if !entitlements.is_empty() {
            query = bind_entitlements(query, &entitlements.iter().map(|one| &**one).collect::<Vec<_>>());
        }
    }
    if !effects.removed.is_empty() {
        let (customer_ids, game_ids) = key_columns(&effects.removed);
        query = query.bind(customer_ids).bind(game_ids);
    }
    if !effects.past.is_empty() {
        query = bind_past(query, &effects.past);
    }
    if !effects.reservations.is_empty() {
        query = bind_reservations(query, &effects.reservations);
    }
    if !effects.stocks.is_empty() {
        query = bind_stocks(query, &effects.stocks);
    }
    if !batch.requests.is_empty() {
        query = bind_requests(query, &batch.requests);
    }
    query
}

/// Writes a batch in one statement, which commits by itself.
pub(super) async fn commit(
    connection: &mut PgConnection,
    head: &Head,
    batch: &Batch,
) -> Result<(), CommitError> {
    // The text is made of constants alone; every value is a parameter.
    let query = bind(sqlx::query(AssertSqlSafe(statement(batch))), head, batch);
    match query.fetch_one(connection).await {
        Ok(row) => match row.try_get::<i64, _>(0).map_err(StoreError::from)? {
            1 => Ok(()),
            _ => Err(CommitError::Fenced),
        },
        Err(error) if is_conflict(&error) => Err(CommitError::Conflict),
        Err(error) if is_answer(&error) => Err(StoreError::from(error).into()),
        Err(error) => Err(CommitError::Unknown(error)),
    }
}
