//! The store on SQLite: embedded, one file, one connection that writes.

use async_trait::async_trait;
use database::Sqlite;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::record::{self, cause, decode_outcome, id, signed, unsigned};
use super::sql as shared;
use super::{Batch, CommitError, Head, Loaded, Store, StoreError, StoredRequest};
use crate::domain::{Commit, CustomerId, Entitlement, GameId, Key, RequestId, Revision};

/// Every set of rows is handed over as one JSON array and read by `json_each`, so that a batch costs as many statements
/// as there are tables, however many rows it has.
mod sql {
    pub(super) const ADVANCE: &str = "UPDATE head SET revision = $1 WHERE epoch = $2 AND revision = $3";

    pub(super) const LOAD_REQUESTS: &str = "
        SELECT r.request_id, r.content_hash, r.revision, r.outcome, r.decided_at_ms
        FROM json_each($1) AS wanted CROSS JOIN request AS r ON r.request_id = unhex(wanted.value)";

    pub(super) const LOAD_ENTITLEMENTS: &str = "
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id
        FROM json_each($1) AS wanted CROSS JOIN entitlement AS e
          ON e.customer_id = wanted.value ->> 0 AND e.game_id = wanted.value ->> 1";

    pub(super) const PUT_PRESENT: &str = "
        INSERT INTO entitlement (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
        FROM json_each($1) WHERE true
        ON CONFLICT (customer_id, game_id) DO UPDATE SET valid_from = excluded.valid_from,
          granted_at_ms = excluded.granted_at_ms, reason = excluded.reason, actor = excluded.actor,
          order_id = excluded.order_id";

    pub(super) const DELETE_REMOVED: &str = "
        DELETE FROM entitlement WHERE (customer_id, game_id) IN
          (SELECT value ->> 0, value ->> 1 FROM json_each($1))";

    pub(super) const INSERT_PAST: &str = "
        INSERT INTO entitlement_past (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id,
          valid_to, ended_at_ms, end_reason, end_actor, end_order_id)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
          value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11
        FROM json_each($1)";

    pub(super) const INSERT_REQUESTS: &str = "
        INSERT INTO request (request_id, content_hash, revision, outcome, decided_at_ms)
        SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, unhex(value ->> 3), value ->> 4
        FROM json_each($1)";

    pub(super) const INSERT_LOG: &str =
        "INSERT INTO change_log (last_revision, first_revision, commits) VALUES ($1, $2, $3)";

    pub(super) const CHECK: &str = "
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id
        FROM json_each($2) AS wanted CROSS JOIN entitlement AS e
          ON e.customer_id = wanted.value ->> 0 AND e.game_id = wanted.value ->> 1
        WHERE e.valid_from <= $1
        UNION ALL
        SELECT p.customer_id, p.game_id, p.valid_from, p.granted_at_ms, p.reason, p.actor, p.order_id
        FROM json_each($2) AS wanted CROSS JOIN entitlement_past AS p
          ON p.customer_id = wanted.value ->> 0 AND p.game_id = wanted.value ->> 1
        WHERE p.valid_from <= $1 AND p.valid_to > $1";
}

/// The store on SQLite.
#[derive(Debug)]
pub(super) struct SqliteStore {
    database: Sqlite,
}

impl SqliteStore {
    pub(super) fn new(database: Sqlite) -> Self {
        Self { database }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn keys_json(keys: &[Key]) -> String {
    let keys = keys.iter().map(|(customer_id, game_id)| json!([customer_id.as_str(), game_id.as_str()]));
    Value::Array(keys.collect()).to_string()
}

fn entitlement_json(entitlement: &Entitlement) -> Vec<Value> {
    vec![
        json!(entitlement.customer_id.as_str()),
        json!(entitlement.game_id.as_str()),
        json!(entitlement.valid_from),
        json!(entitlement.granted_at_ms),
        json!(entitlement.cause.reason.number()),
        json!(entitlement.cause.actor),
        json!(entitlement.cause.order_id),
    ]
}

fn read_entitlement(row: &SqliteRow) -> Result<Entitlement, StoreError> {
    Ok(Entitlement {
        customer_id: id(row.try_get(0)?)?,
        game_id: id(row.try_get(1)?)?,
        valid_from: unsigned(row.try_get(2)?)?,
        granted_at_ms: unsigned(row.try_get(3)?)?,
        cause: cause(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?)?,
    })
}

fn read_entitlements(rows: &[SqliteRow]) -> Result<Vec<Entitlement>, StoreError> {
    rows.iter().map(read_entitlement).collect()
}

fn read_uuid(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| StoreError::Corrupt("a UUID".to_owned()))
}

fn read_request(row: &SqliteRow) -> Result<StoredRequest, StoreError> {
    let content_hash: &[u8] = row.try_get(1)?;
    Ok(StoredRequest {
        request_id: RequestId::from(read_uuid(row.try_get(0)?)?),
        content_hash: content_hash
            .try_into()
            .map_err(|_| StoreError::Corrupt("a content hash".to_owned()))?,
        outcome: decode_outcome(row.try_get(3)?, unsigned(row.try_get(2)?)?)?,
        decided_at_ms: unsigned(row.try_get(4)?)?,
    })
}

/// Runs a statement over a set of rows, or nothing when the set is empty.
async fn write_rows(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<Value>,
) -> Result<(), StoreError> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(Value::Array(rows).to_string()).execute(connection).await?;
    }
    Ok(())
}

async fn write_batch(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), StoreError> {
    let effects = &batch.effects;
    let present = effects.present.iter().map(|entitlement| Value::Array(entitlement_json(entitlement)));
    write_rows(connection, sql::PUT_PRESENT, present.collect()).await?;
    let removed = effects.removed.iter().map(|(customer, game)| json!([customer.as_str(), game.as_str()]));
    write_rows(connection, sql::DELETE_REMOVED, removed.collect()).await?;
    let past = effects.past.iter().map(|past| {
        let mut row = entitlement_json(&past.entitlement);
        row.extend([
            json!(past.valid_to),
            json!(past.ended_at_ms),
            json!(past.end_cause.reason.number()),
            json!(past.end_cause.actor),
            json!(past.end_cause.order_id),
        ]);
        Value::Array(row)
    });
    write_rows(connection, sql::INSERT_PAST, past.collect()).await?;
    let requests = batch.requests.iter().map(|request| {
        json!([
            hex(request.request_id.as_uuid().as_bytes()),
            hex(&request.content_hash),
            request.outcome.revision,
            hex(&record::encode_verdict(&request.outcome.verdict)),
            request.decided_at_ms,
        ])
    });
    write_rows(connection, sql::INSERT_REQUESTS, requests.collect()).await?;
    if let (Some(first), Some(last)) = (batch.commits.first(), batch.commits.last()) {
        sqlx::query(sql::INSERT_LOG)
            .bind(signed(last.revision))
            .bind(signed(first.revision))
            .bind(record::encode_commits(&batch.commits))
            .execute(connection)
            .await?;
    }
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError> {
        let row = sqlx::query(shared::LEAD)
            .bind(&leader_id.as_bytes()[..])
            .bind(take_over)
            .fetch_optional(&self.database.writer)
            .await?;
        row.map(|row| {
            Ok(Head {
                store_id: read_uuid(row.try_get(0)?)?,
                incarnation: unsigned(row.try_get(1)?)?,
                epoch: unsigned(row.try_get(2)?)?,
                revision: unsigned(row.try_get(3)?)?,
            })
        })
        .transpose()
    }

    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError> {
        let ids = requests.iter().map(|id| Value::String(hex(id.as_uuid().as_bytes())));
        let ids = Value::Array(ids.collect()).to_string();
        let mut connection = self.database.writer.acquire().await?;
        let requests = sqlx::query(sql::LOAD_REQUESTS).bind(ids).fetch_all(&mut *connection).await?;
        let entitlements =
            sqlx::query(sql::LOAD_ENTITLEMENTS).bind(keys_json(keys)).fetch_all(&mut *connection).await?;
        Ok(Loaded {
            requests: requests.iter().map(read_request).collect::<Result<_, _>>()?,
            entitlements: read_entitlements(&entitlements)?,
        })
    }

    async fn commit(&self, head: &Head, batch: &Batch) -> Result<(), CommitError> {
        let revision = batch.commits.last().map_or(head.revision, |commit| commit.revision);
        let mut transaction =
            self.database.writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        let advanced = sqlx::query(sql::ADVANCE)
            .bind(signed(revision))
            .bind(signed(head.epoch))
            .bind(signed(head.revision))
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        if advanced.rows_affected() != 1 {
            return Err(CommitError::Fenced);
        }
        write_batch(&mut transaction, batch).await?;
        // After a failed COMMIT only recovery from the log, at the next start, tells what is on the disk.
        transaction.commit().await.map_err(CommitError::Fatal)
    }

    async fn check(&self, at: Revision, keys: &[Key]) -> Result<Vec<Entitlement>, StoreError> {
        let rows = sqlx::query(sql::CHECK)
            .bind(signed(at))
            .bind(keys_json(keys))
            .fetch_all(&self.database.readers)
            .await?;
        read_entitlements(&rows)
    }

    async fn list(
        &self,
        at: Revision,
        customer_id: &CustomerId,
        after: Option<&GameId>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError> {
        let rows = sqlx::query(shared::LIST)
            .bind(signed(at))
            .bind(customer_id.as_str())
            .bind(after.map_or("", GameId::as_str))
            .bind(limit)
            .fetch_all(&self.database.readers)
            .await?;
        read_entitlements(&rows)
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError> {
        let rows = sqlx::query(shared::SNAPSHOT)
            .bind(signed(at))
            .bind(after.map_or("", |(customer_id, _)| customer_id.as_str()))
            .bind(after.map_or("", |(_, game_id)| game_id.as_str()))
            .bind(limit)
            .fetch_all(&self.database.readers)
            .await?;
        read_entitlements(&rows)
    }

    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError> {
        let rows = sqlx::query(shared::LOG)
            .bind(signed(after))
            .bind(limit_batches)
            .fetch_all(&self.database.readers)
            .await?;
        let batches = rows.iter().map(|row| record::decode_commits(row.try_get(0)?, after));
        batches.collect::<Result<Vec<_>, StoreError>>().map(|batches| batches.into_iter().flatten().collect())
    }

    async fn close(&self) {
        self.database.writer.close().await;
        self.database.readers.close().await;
    }
}
