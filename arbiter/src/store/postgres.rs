//! The store on PostgreSQL.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::error::is_answer;
use super::record::{self, cause, decode_outcome, id, signed, unsigned};
use super::sql as shared;
use super::{Batch, CommitError, Head, Loaded, Store, StoreError, StoredRequest};
use crate::domain::{Commit, CustomerId, Entitlement, GameId, Key, PastEntitlement, RequestId, Revision};

/// Every set of rows is handed over as arrays, one a column. A load by key goes through `CROSS JOIN LATERAL`: a plain join
/// is planned badly on a table whose statistics are not fresh.
mod sql {
    pub(super) const LOAD: &str = r#"
        SELECT r.request_id, r.content_hash, r.revision, r.outcome, r.decided_at_ms,
          NULL::text, NULL::text, NULL::smallint, NULL::text, NULL::text
        FROM unnest($1::uuid[]) AS wanted (request_id)
        CROSS JOIN LATERAL (SELECT * FROM request WHERE request.request_id = wanted.request_id OFFSET 0) AS r
        UNION ALL
        SELECT NULL, NULL, e.valid_from, NULL, e.granted_at_ms, e.customer_id, e.game_id, e.reason, e.actor, e.order_id
        FROM unnest($2::text[], $3::text[]) AS wanted (customer_id, game_id)
        CROSS JOIN LATERAL (SELECT * FROM entitlement WHERE entitlement.customer_id = wanted.customer_id COLLATE "C"
          AND entitlement.game_id = wanted.game_id COLLATE "C" OFFSET 0) AS e"#;

    /// The whole transaction in one statement, which commits by itself: the compare-and-set of the head comes first, and
    /// nothing else is written unless it found its row.
    pub(super) const COMMIT: &str = r#"
        WITH advanced AS (
          UPDATE head SET revision = $1 WHERE epoch = $2 AND revision = $3 RETURNING revision
        ), put_present AS (
          INSERT INTO entitlement (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id)
          SELECT input.* FROM advanced, unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::smallint[],
            $9::text[], $10::text[]) AS input
          ON CONFLICT (customer_id, game_id) DO UPDATE SET valid_from = excluded.valid_from,
            granted_at_ms = excluded.granted_at_ms, reason = excluded.reason, actor = excluded.actor,
            order_id = excluded.order_id
        ), delete_removed AS (
          DELETE FROM entitlement USING advanced, unnest($11::text[], $12::text[]) AS input (customer_id, game_id)
          WHERE entitlement.customer_id = input.customer_id COLLATE "C"
            AND entitlement.game_id = input.game_id COLLATE "C"
        ), insert_past AS (
          INSERT INTO entitlement_past (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id,
            valid_to, ended_at_ms, end_reason, end_actor, end_order_id)
          SELECT input.* FROM advanced, unnest($13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::smallint[],
            $18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::smallint[], $23::text[], $24::text[]) AS input
        ), insert_requests AS (
          INSERT INTO request (request_id, content_hash, revision, outcome, decided_at_ms)
          SELECT input.* FROM advanced,
            unnest($25::uuid[], $26::bytea[], $27::bigint[], $28::bytea[], $29::bigint[]) AS input
        ), insert_log AS (
          INSERT INTO change_log (last_revision, first_revision, commits)
          SELECT $1, $30, $31 FROM advanced WHERE $31::bytea IS NOT NULL
        )
        SELECT count(*) FROM advanced"#;

    pub(super) const CHECK: &str = r#"
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id
        FROM unnest($2::text[], $3::text[]) AS wanted (customer_id, game_id)
        CROSS JOIN LATERAL (SELECT * FROM entitlement WHERE entitlement.customer_id = wanted.customer_id COLLATE "C"
          AND entitlement.game_id = wanted.game_id COLLATE "C" AND valid_from <= $1 OFFSET 0) AS e
        UNION ALL
        SELECT p.customer_id, p.game_id, p.valid_from, p.granted_at_ms, p.reason, p.actor, p.order_id
        FROM unnest($2::text[], $3::text[]) AS wanted (customer_id, game_id)
        CROSS JOIN LATERAL (SELECT * FROM entitlement_past AS past WHERE past.customer_id = wanted.customer_id COLLATE "C"
          AND past.game_id = wanted.game_id COLLATE "C" AND valid_from <= $1 AND valid_to > $1 OFFSET 0) AS p"#;
}

/// The store on PostgreSQL.
#[derive(Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

fn key_columns(keys: &[Key]) -> (Vec<&str>, Vec<&str>) {
    keys.iter().map(|(customer_id, game_id)| (customer_id.as_str(), game_id.as_str())).unzip()
}

/// Entitlements turned into columns.
#[derive(Default)]
struct EntitlementColumns<'a> {
    customer_ids: Vec<&'a str>,
    game_ids: Vec<&'a str>,
    valid_from: Vec<i64>,
    granted_at_ms: Vec<i64>,
    reasons: Vec<i16>,
    actors: Vec<&'a str>,
    order_ids: Vec<&'a str>,
}

impl<'a> EntitlementColumns<'a> {
    fn new(entitlements: impl Iterator<Item = &'a Entitlement>) -> Self {
        let mut columns = Self::default();
        for entitlement in entitlements {
            columns.customer_ids.push(entitlement.customer_id.as_str());
            columns.game_ids.push(entitlement.game_id.as_str());
            columns.valid_from.push(signed(entitlement.valid_from));
            columns.granted_at_ms.push(signed(entitlement.granted_at_ms));
            columns.reasons.push(entitlement.cause.reason.number());
            columns.actors.push(&entitlement.cause.actor);
            columns.order_ids.push(&entitlement.cause.order_id);
        }
        columns
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_entitlements<'q>(query: Query<'q>, columns: EntitlementColumns<'q>) -> Query<'q> {
    query
        .bind(columns.customer_ids)
        .bind(columns.game_ids)
        .bind(columns.valid_from)
        .bind(columns.granted_at_ms)
        .bind(columns.reasons)
        .bind(columns.actors)
        .bind(columns.order_ids)
}

fn bind_past<'q>(query: Query<'q>, past: &'q [PastEntitlement]) -> Query<'q> {
    let columns = EntitlementColumns::new(past.iter().map(|past| &past.entitlement));
    bind_entitlements(query, columns)
        .bind(past.iter().map(|past| signed(past.valid_to)).collect::<Vec<_>>())
        .bind(past.iter().map(|past| signed(past.ended_at_ms)).collect::<Vec<_>>())
        .bind(past.iter().map(|past| past.end_cause.reason.number()).collect::<Vec<_>>())
        .bind(past.iter().map(|past| past.end_cause.actor.as_str()).collect::<Vec<_>>())
        .bind(past.iter().map(|past| past.end_cause.order_id.as_str()).collect::<Vec<_>>())
}

fn bind_requests<'q>(query: Query<'q>, requests: &'q [StoredRequest]) -> Query<'q> {
    query
        .bind(requests.iter().map(|request| request.request_id.as_uuid()).collect::<Vec<_>>())
        .bind(requests.iter().map(|request| &request.content_hash[..]).collect::<Vec<_>>())
        .bind(requests.iter().map(|request| signed(request.outcome.revision)).collect::<Vec<_>>())
        .bind(
            requests
                .iter()
                .map(|request| record::encode_verdict(&request.outcome.verdict))
                .collect::<Vec<_>>(),
        )
        .bind(requests.iter().map(|request| signed(request.decided_at_ms)).collect::<Vec<_>>())
}

fn read_entitlement(row: &PgRow) -> Result<Entitlement, StoreError> {
    Ok(Entitlement {
        customer_id: id(row.try_get(0)?)?,
        game_id: id(row.try_get(1)?)?,
        valid_from: unsigned(row.try_get(2)?)?,
        granted_at_ms: unsigned(row.try_get(3)?)?,
        cause: cause(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?)?,
    })
}

fn read_entitlements(rows: &[PgRow]) -> Result<Vec<Entitlement>, StoreError> {
    rows.iter().map(read_entitlement).collect()
}

/// A row of [`sql::LOAD`]: a request when it has a request id, otherwise an entitlement.
fn read_loaded(rows: &[PgRow]) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    for row in rows {
        let revision = unsigned(row.try_get(2)?)?;
        let time_ms = unsigned(row.try_get(4)?)?;
        if let Some(request_id) = row.try_get::<Option<Uuid>, _>(0)? {
            let content_hash: &[u8] = row.try_get(1)?;
            loaded.requests.push(StoredRequest {
                request_id: RequestId::from(request_id),
                content_hash: content_hash
                    .try_into()
                    .map_err(|_| StoreError::Corrupt("a content hash".to_owned()))?,
                outcome: decode_outcome(row.try_get(3)?, revision)?,
                decided_at_ms: time_ms,
            });
        } else {
            loaded.entitlements.push(Entitlement {
                customer_id: id(row.try_get(5)?)?,
                game_id: id(row.try_get(6)?)?,
                valid_from: revision,
                granted_at_ms: time_ms,
                cause: cause(row.try_get(7)?, row.try_get(8)?, row.try_get(9)?)?,
            });
        }
    }
    Ok(loaded)
}

#[async_trait]
impl Store for PostgresStore {
    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError> {
        let row =
            sqlx::query(shared::LEAD).bind(leader_id).bind(take_over).fetch_optional(&self.pool).await?;
        row.map(|row| {
            Ok(Head {
                store_id: row.try_get(0)?,
                incarnation: unsigned(row.try_get(1)?)?,
                epoch: unsigned(row.try_get(2)?)?,
                revision: unsigned(row.try_get(3)?)?,
            })
        })
        .transpose()
    }

    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError> {
        let (customer_ids, game_ids) = key_columns(keys);
        let rows = sqlx::query(sql::LOAD)
            .bind(requests.iter().map(RequestId::as_uuid).collect::<Vec<_>>())
            .bind(customer_ids)
            .bind(game_ids)
            .fetch_all(&self.pool)
            .await?;
        read_loaded(&rows)
    }

    async fn commit(&self, head: &Head, batch: &Batch) -> Result<(), CommitError> {
        let first = batch.commits.first().map(|commit| signed(commit.revision));
        let last = batch.commits.last().map_or(head.revision, |commit| commit.revision);
        let effects = &batch.effects;
        let (removed_customers, removed_games) = key_columns(&effects.removed);
        let query =
            sqlx::query(sql::COMMIT).bind(signed(last)).bind(signed(head.epoch)).bind(signed(head.revision));
        let query = bind_entitlements(query, EntitlementColumns::new(effects.present.iter()))
            .bind(removed_customers)
            .bind(removed_games);
        let query = bind_requests(bind_past(query, &effects.past), &batch.requests)
            .bind(first)
            .bind(first.map(|_| record::encode_commits(&batch.commits)));
        // The connection is taken before the statement, so that failing to get one is known to have written nothing.
        let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
        match query.fetch_one(&mut *connection).await {
            Ok(row) => match row.try_get::<i64, _>(0).map_err(StoreError::from)? {
                1 => Ok(()),
                _ => Err(CommitError::Fenced),
            },
            Err(error) if is_answer(&error) => Err(StoreError::from(error).into()),
            Err(error) => Err(CommitError::Unknown(error)),
        }
    }

    async fn check(&self, at: Revision, keys: &[Key]) -> Result<Vec<Entitlement>, StoreError> {
        let (customer_ids, game_ids) = key_columns(keys);
        let rows = sqlx::query(sql::CHECK)
            .bind(signed(at))
            .bind(customer_ids)
            .bind(game_ids)
            .fetch_all(&self.pool)
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
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
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
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        read_entitlements(&rows)
    }

    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError> {
        let rows = sqlx::query(shared::LOG)
            .bind(signed(after))
            .bind(i64::from(limit_batches))
            .fetch_all(&self.pool)
            .await?;
        let batches = rows.iter().map(|row| record::decode_commits(row.try_get(0)?, after));
        batches.collect::<Result<Vec<_>, StoreError>>().map(|batches| batches.into_iter().flatten().collect())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
