//! Writes a batch in one transaction, which is handed over in two calls: all of its statements, and COMMIT.
//!
//! The driver runs every call on a thread of its own, and the way there and back costs more than a small statement does.
//!
//! A constraint that a row breaks ends the whole transaction (`OR ROLLBACK`). By default it would end the statement alone, for which
//! SQLite copies every page before a statement of several rows changes it.

use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::super::error::is_conflict;
use super::super::record::{self, signed};
use super::super::{Batch, CommitError, Head, StoreError};
use super::memtable::{Flush, Plan};
use super::{json, keys_json};
use crate::domain::{Entitlement, PastEntitlement, Revision};

/// Advances the head, or breaks its NOT NULL where the head is not what this process left: that ends the statements.
const BEGIN: &str = "BEGIN IMMEDIATE;
    UPDATE OR ROLLBACK head SET revision = CASE WHEN epoch = $2 AND revision = $3 THEN $1 END, flushed_to = $4;";

/// Begins to carry over what waits in memory, without a batch, or breaks the same NOT NULL where another process committed something:
/// what waits here may have ended there. One that leads and has committed nothing yet owns what this one does.
const BEGIN_FLUSH: &str = "BEGIN IMMEDIATE;
    UPDATE OR ROLLBACK head SET revision = CASE WHEN revision = $2 THEN $2 END, flushed_to = $1;";

/// The constraint that [`BEGIN`] and [`BEGIN_FLUSH`] break on purpose.
const FENCED: &str = "head.revision";

/// What SQLite says of a ROLLBACK where no transaction is open.
const NONE_OPEN: &str = "no transaction is active";

/// The columns of an entitlement.
const COLUMNS: &str =
    "customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms, from_stock";

/// The same in a JSON array, beginning at the first.
const ENTITLEMENT_VALUES: &str =
    "value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7, value ->> 8";

/// The statements of a transaction, with what they bind. Parameters are counted across all of them.
struct Statements {
    text: String,
    arguments: Vec<Argument>,
}

enum Argument {
    Text(String),
    Bytes(Vec<u8>),
    Number(i64),
}

impl Statements {
    fn of_batch(head: &Head, batch: &Batch, plan: &Plan) -> Self {
        let revision = batch.commits.last().map_or(head.revision, |commit| commit.revision);
        let mut statements =
            Self::new(BEGIN, &[revision, head.epoch, head.revision, plan.flush.flushed_to.revision]);
        statements.prove_absent(&plan.kept);
        statements.insert(&plan.written);
        statements.replace(batch.effects.replaced.iter().chain(&plan.flush.rows));
        statements.end(batch);
        statements.reservations(batch);
        statements.requests(batch);
        statements.log(batch);
        statements.checkpoint(batch);
        statements
    }

    fn of_flush(head: Revision, flush: &Flush) -> Self {
        let mut statements = Self::new(BEGIN_FLUSH, &[flush.flushed_to.revision, head]);
        statements.replace(flush.rows.iter());
        statements
    }

    fn new(begin: &str, numbers: &[u64]) -> Self {
        let arguments = numbers.iter().map(|number| Argument::Number(signed(*number))).collect();
        Self { text: begin.to_owned(), arguments }
    }

    /// Takes an argument, and returns the number of its parameter.
    fn bind(&mut self, argument: Argument) -> usize {
        self.arguments.push(argument);
        self.arguments.len()
    }

    /// A statement over one JSON array of rows: `before json_each($N) after`.
    fn over_json(&mut self, before: &str, rows: String, after: &str) {
        let parameter = self.bind(Argument::Text(rows));
        self.text.extend([before, " json_each($", &parameter.to_string(), ") ", after, ";"]);
    }

    /// Breaks the primary key where one of these is in the table, as inserting it would.
    fn prove_absent(&mut self, entitlements: &[Arc<Entitlement>]) {
        if !entitlements.is_empty() {
            let keys = entitlements.iter().map(|one| (one.customer_id.as_str(), one.game_id.as_str()));
            let found = format!("INSERT OR ROLLBACK INTO entitlement ({COLUMNS}) SELECT present.* FROM");
            let by_key = "AS input CROSS JOIN entitlement AS present
                ON present.customer_id = input.value ->> 0 AND present.game_id = input.value ->> 1";
            self.over_json(&found, json(&keys.collect::<Vec<_>>()), by_key);
        }
    }

    fn insert(&mut self, entitlements: &[Arc<Entitlement>]) {
        if !entitlements.is_empty() {
            let rows: Vec<_> = entitlements.iter().map(|one| values(one)).collect();
            let insert =
                format!("INSERT OR ROLLBACK INTO entitlement ({COLUMNS}) SELECT {ENTITLEMENT_VALUES} FROM");
            self.over_json(&insert, json(&rows), "");
        }
    }

    fn replace<'a>(&mut self, entitlements: impl Iterator<Item = &'a Arc<Entitlement>>) {
        let rows: Vec<_> = entitlements.map(|one| values(one)).collect();
        if !rows.is_empty() {
            let replace = format!("REPLACE INTO entitlement ({COLUMNS}) SELECT {ENTITLEMENT_VALUES} FROM");
            self.over_json(&replace, json(&rows), "");
        }
    }

    /// Removes what ended, and keeps what it was.
    fn end(&mut self, batch: &Batch) {
        let effects = &batch.effects;
        if !effects.removed.is_empty() {
            let delete = "DELETE FROM entitlement WHERE (customer_id, game_id) IN (SELECT value ->> 0, value ->> 1 FROM";
            self.over_json(delete, keys_json(&effects.removed), ")");
        }
        if !effects.past.is_empty() {
            let insert = format!(
                "INSERT OR ROLLBACK INTO entitlement_past ({COLUMNS}, valid_to, ended_at_ms, end_reason, end_actor, end_order_id)
                 SELECT {ENTITLEMENT_VALUES}, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13 FROM"
            );
            self.over_json(&insert, json(&effects.past.iter().map(past_values).collect::<Vec<_>>()), "");
        }
    }

    fn reservations(&mut self, batch: &Batch) {
        let effects = &batch.effects;
        if !effects.reservations.is_empty() {
            let rows = effects.reservations.iter().map(|one| {
                let numbers =
                    [one.expires_at_ms, u64::from(one.from_stock), one.changed_at, one.changed_at_ms];
                let id = one.reservation_id.as_uuid().simple().to_string();
                (id, one.customer_id.as_str(), one.game_id.as_str(), one.status.number(), numbers)
            });
            let insert = "INSERT INTO reservation (reservation_id, customer_id, game_id, status, expires_at_ms, from_stock,
                  changed_at, changed_at_ms)
                SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> '$[4][0]', value ->> '$[4][1]',
                  value ->> '$[4][2]', value ->> '$[4][3]' FROM";
            let conflict = "WHERE true ON CONFLICT (reservation_id) DO UPDATE SET status = excluded.status,
                changed_at = excluded.changed_at, changed_at_ms = excluded.changed_at_ms";
            self.over_json(insert, json(&rows.collect::<Vec<_>>()), conflict);
        }
        if !effects.stocks.is_empty() {
            let rows = effects.stocks.iter();
            let rows = rows.map(|stock| (stock.game_id.as_str(), stock.total, stock.sold, stock.reserved));
            let insert = "INSERT INTO stock (game_id, total, sold, reserved)
                SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM";
            let conflict =
                "WHERE true ON CONFLICT (game_id) DO UPDATE SET total = excluded.total, sold = excluded.sold,
                reserved = excluded.reserved";
            self.over_json(insert, json(&rows.collect::<Vec<_>>()), conflict);
        }
    }

    /// Ids, hashes and outcomes are runs of bytes out of which each row takes its own: JSON has no bytes.
    fn requests(&mut self, batch: &Batch) {
        if batch.requests.is_empty() {
            return;
        }
        let (mut ids, mut hashes, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            ids.extend(request.request_id.as_uuid().as_bytes());
            hashes.extend(request.content_hash);
            let from = outcomes.len() + 1;
            outcomes.extend(record::encode_verdict(&request.outcome.verdict));
            rows.push((request.outcome.revision, request.decided_at_ms, from, outcomes.len() + 1 - from));
        }
        let ids = self.bind(Argument::Bytes(ids));
        let hashes = self.bind(Argument::Bytes(hashes));
        let outcomes = self.bind(Argument::Bytes(outcomes));
        let insert = format!(
            "INSERT OR ROLLBACK INTO request (request_id, content_hash, revision, outcome, decided_at_ms)
             SELECT substr(${ids}, key * 16 + 1, 16), substr(${hashes}, key * 32 + 1, 32), value ->> 0,
               substr(${outcomes}, value ->> 2, value ->> 3), value ->> 1 FROM"
        );
        self.over_json(&insert, json(&rows), "");
    }

    fn log(&mut self, batch: &Batch) {
        if let (Some(first), Some(last)) = (batch.commits.first(), batch.commits.last()) {
            let last = self.bind(Argument::Number(signed(last.revision)));
            let first = self.bind(Argument::Number(signed(first.revision)));
            let commits = self.bind(Argument::Bytes(record::encode_commits(&batch.commits)));
            let insert = format!(
                "INSERT INTO change_log (last_revision, first_revision, commits) VALUES (${last}, ${first}, ${commits});"
            );
            self.text.push_str(&insert);
        }
    }

    fn checkpoint(&mut self, batch: &Batch) {
        if let Some(sums) = &batch.checkpoint {
            let revision = self.bind(Argument::Number(signed(sums.revision)));
            let sums = self.bind(Argument::Bytes(record::encode_sums(sums)));
            let replace = format!(
                "REPLACE INTO digest_checkpoint (singleton, revision, sums) VALUES (1, ${revision}, ${sums});"
            );
            self.text.push_str(&replace);
        }
    }

    async fn execute(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // The text is made of constants and numbers of parameters alone; every value is a parameter.
        let mut query: sqlx::query::Query<'_, Sqlite, SqliteArguments> =
            sqlx::query(AssertSqlSafe(self.text));
        for argument in self.arguments {
            query = match argument {
                Argument::Text(text) => query.bind(text),
                Argument::Bytes(bytes) => query.bind(bytes),
                Argument::Number(number) => query.bind(number),
            };
        }
        query.execute(connection).await.map(|_| ())
    }
}

/// An entitlement's columns.
type Values<'a> = (&'a str, &'a str, u64, u64, i16, &'a str, &'a str, Option<u64>, u8);

fn values(one: &Entitlement) -> Values<'_> {
    (
        one.customer_id.as_str(),
        one.game_id.as_str(),
        one.valid_from,
        one.granted_at_ms,
        one.cause.reason.number(),
        &one.cause.actor,
        &one.cause.order_id,
        one.ends_at_ms,
        u8::from(one.from_stock),
    )
}

fn past_values(past: &PastEntitlement) -> serde_json::Value {
    let end = &past.end;
    let mut row = serde_json::json!(values(&past.entitlement));
    let rest = serde_json::json!([
        end.valid_to,
        end.ended_at_ms,
        end.cause.reason.number(),
        end.cause.actor,
        end.cause.order_id,
    ]);
    if let (Some(row), serde_json::Value::Array(rest)) = (row.as_array_mut(), rest) {
        row.extend(rest);
    }
    row
}

/// Writes a batch in one transaction, with what it carries over.
pub(super) async fn commit(
    writer: &mut SqliteConnection,
    head: &Head,
    batch: &Batch,
    plan: &Plan,
) -> Result<(), CommitError> {
    transact(writer, Statements::of_batch(head, batch, plan)).await
}

/// Carries over what waits in memory, in a transaction of its own, where `head` is still the newest revision of the store.
pub(super) async fn flush(
    writer: &mut SqliteConnection,
    head: Revision,
    flush: &Flush,
) -> Result<(), CommitError> {
    transact(writer, Statements::of_flush(head, flush)).await
}

async fn transact(writer: &mut SqliteConnection, statements: Statements) -> Result<(), CommitError> {
    if let Err(error) = statements.execute(writer).await {
        roll_back(writer).await;
        return Err(match &error {
            sqlx::Error::Database(database) if database.message().contains(FENCED) => CommitError::Fenced,
            error if is_conflict(error) => CommitError::Conflict,
            _ => StoreError::from(error).into(),
        });
    }
    // After a failed COMMIT only recovery from the log, at the next start, tells what is on the disk.
    sqlx::query("COMMIT").execute(writer).await.map(|_| ()).map_err(CommitError::Fatal)
}

/// Ends a transaction that failed, where its failure has not ended it already, as that of a constraint does.
pub(super) async fn roll_back(connection: &mut SqliteConnection) {
    if let Err(error) = sqlx::query("ROLLBACK").execute(connection).await
        && !error.as_database_error().is_some_and(|error| error.message().contains(NONE_OPEN))
    {
        tracing::warn!(%error, "a transaction could not be rolled back");
    }
}
