//! The store on PostgreSQL.

mod commit;
mod lease;
mod log;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::record::{self, cause, decode_outcome, id, signed, unsigned};
use super::rows::row_readers;
use super::sql as shared;
use super::{
    Batch, CommitError, CopyRow, Due, Head, HistoryPlace, LeaseStore, Loaded, Store, StoreError,
    StoredRequest,
};
use crate::domain::{
    Commit, CustomerId, End, Entitlement, GameId, Key, Ownership, RequestId, Reservation, ReservationId,
    ReservationStatus, Revision, Stock, Subject, Sums,
};

/// Every set of rows is handed over as arrays, one a column. A load by key goes through `CROSS JOIN LATERAL`: a plain join
/// is planned badly on a table whose statistics are not fresh.
mod sql {
    /// The server, its timeline (another one begins when a backup is recovered or a standby promoted), the database, and the table,
    /// which a dump makes anew.
    pub(super) const LINEAGE: &str = "
        SELECT (SELECT system_identifier FROM pg_control_system()) || '/'
          || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
          || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'head'::regclass::oid";

    /// A lineage that is not known, or was not, proves nothing either way.
    pub(super) const SETTLE_INCARNATION: &str = "
        UPDATE head SET lineage = coalesce($3, lineage),
          incarnation = CASE WHEN $2 OR (lineage <> '' AND lineage <> $3)
            THEN greatest(incarnation + 1, $4) ELSE incarnation END
        WHERE leader_id = $1 RETURNING store_id, incarnation, epoch, revision";

    pub(super) const LOAD_REQUESTS: &str = "
        SELECT r.request_id, r.content_hash, r.revision, r.outcome, r.decided_at_ms
        FROM unnest($1::uuid[]) AS wanted (request_id)
        CROSS JOIN LATERAL (SELECT * FROM request WHERE request.request_id = wanted.request_id OFFSET 0) AS r";

    pub(super) const LOAD_ENTITLEMENTS: &str = r#"
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id, e.ends_at_ms,
          e.from_stock
        FROM unnest($1::text[], $2::text[]) AS wanted (customer_id, game_id)
        CROSS JOIN LATERAL (SELECT * FROM entitlement WHERE entitlement.customer_id = wanted.customer_id COLLATE "C"
          AND entitlement.game_id = wanted.game_id COLLATE "C" OFFSET 0) AS e"#;

    pub(super) const RESERVATIONS: &str = concat!(
        "SELECT ",
        super::shared::reservation!(),
        r#" FROM reservation WHERE reservation_id = ANY($1)
        UNION ALL
        SELECT "#,
        super::shared::reservation!(),
        r#" FROM reservation WHERE customer_id = ANY($2 COLLATE "C") AND status = 1"#
    );

    pub(super) const CHECK: &str = r#"
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id, e.ends_at_ms,
          e.from_stock
        FROM unnest($2::text[], $3::text[]) AS wanted (customer_id, game_id)
        CROSS JOIN LATERAL (SELECT * FROM entitlement WHERE entitlement.customer_id = wanted.customer_id COLLATE "C"
          AND entitlement.game_id = wanted.game_id COLLATE "C" AND valid_from <= $1 OFFSET 0) AS e
        UNION ALL
        SELECT p.customer_id, p.game_id, p.valid_from, p.granted_at_ms, p.reason, p.actor, p.order_id, p.ends_at_ms,
          p.from_stock
        FROM unnest($2::text[], $3::text[]) AS wanted (customer_id, game_id)
        CROSS JOIN LATERAL (SELECT * FROM entitlement_past AS past WHERE past.customer_id = wanted.customer_id COLLATE "C"
          AND past.game_id = wanted.game_id COLLATE "C" AND valid_from <= $1 AND valid_to > $1 OFFSET 0) AS p"#;

    pub(super) const PUT_COPIES: &str = "
        INSERT INTO copy (name, version, revision, digest_state, repaired_partitions, last_seen_ms)
        SELECT input.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[]) AS input
        WHERE EXISTS (SELECT 1 FROM head WHERE leader_id = $7)
        ON CONFLICT (name) DO UPDATE SET version = excluded.version, revision = excluded.revision,
          digest_state = excluded.digest_state, repaired_partitions = excluded.repaired_partitions,
          last_seen_ms = excluded.last_seen_ms";

    pub(super) const FORGET_REQUESTS: &str = "DELETE FROM request WHERE request_id = ANY($1)";

    /// A commit's plan is the same whatever it writes. Left to itself the server plans it anew each time, since it sees how long
    /// each array is, and that takes longer than a small commit. Not so for reads: that of a snapshot depends on its limit.
    pub(super) const PLAN_ONCE: &str = "SET plan_cache_mode = force_generic_plan";
}

/// The store on PostgreSQL.
#[derive(Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
    /// The connection that commits, out of its pool: a pool asks a connection whether it lives each time that it gets it back,
    /// which is a round trip. None before the first commit, and after one that left the connection in doubt.
    committing: Mutex<Option<PgConnection>>,
    /// How long a commit may take. What became of one that took longer is not known.
    commit_timeout: Duration,
}

impl PostgresStore {
    pub(super) fn new(pool: PgPool, commit_timeout: Duration) -> Self {
        Self { pool, committing: Mutex::new(None), commit_timeout }
    }

    async fn connect_to_commit(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.pool.acquire().await?.detach();
        sqlx::query(sql::PLAN_ONCE).execute(&mut connection).await?;
        Ok(connection)
    }
}

fn key_columns(keys: &[Key]) -> (Vec<&str>, Vec<&str>) {
    keys.iter().map(|(customer_id, game_id)| (customer_id.as_str(), game_id.as_str())).unzip()
}

row_readers!(PgRow);

#[async_trait]
impl Store for PostgresStore {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError> {
        let row =
            sqlx::query(shared::LEAD).bind(leader_id).bind(take_over).fetch_optional(&self.pool).await?;
        row.as_ref().map(read_head).transpose()
    }

    async fn settle_incarnation(
        &self,
        leader_id: Uuid,
        restored: bool,
        now_ms: u64,
    ) -> Result<Option<Head>, StoreError> {
        let lineage: Option<String> = match sqlx::query(sql::LINEAGE).fetch_one(&self.pool).await {
            Ok(row) => Some(row.try_get(0)?),
            Err(sqlx::Error::Database(error)) => {
                tracing::warn!(%error, "the server does not tell whether this store was restored: start with --restored after that");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let query = sqlx::query(sql::SETTLE_INCARNATION).bind(leader_id).bind(restored).bind(lineage);
        let query = query.bind(signed(now_ms));
        query.fetch_optional(&self.pool).await?.as_ref().map(read_head).transpose()
    }

    async fn stocks(&self) -> Result<Vec<Stock>, StoreError> {
        read_all(&sqlx::query(shared::STOCKS).fetch_all(&self.pool).await?, read_stock)
    }

    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        if !requests.is_empty() {
            let ids: Vec<Uuid> = requests.iter().map(RequestId::as_uuid).collect();
            let rows = sqlx::query(sql::LOAD_REQUESTS).bind(ids).fetch_all(&self.pool).await?;
            loaded.requests = read_all(&rows, read_request)?;
        }
        if !keys.is_empty() {
            let (customer_ids, game_ids) = key_columns(keys);
            let query = sqlx::query(sql::LOAD_ENTITLEMENTS).bind(customer_ids).bind(game_ids);
            loaded.entitlements = read_all(&query.fetch_all(&self.pool).await?, read_entitlement)?;
        }
        Ok(loaded)
    }

    async fn reservations(
        &self,
        reservations: &[ReservationId],
        customers: &[CustomerId],
    ) -> Result<Vec<Reservation>, StoreError> {
        let ids: Vec<Uuid> = reservations.iter().map(ReservationId::as_uuid).collect();
        let customers: Vec<&str> = customers.iter().map(CustomerId::as_str).collect();
        let rows = sqlx::query(sql::RESERVATIONS).bind(ids).bind(customers).fetch_all(&self.pool).await?;
        read_all(&rows, read_reservation)
    }

    async fn last_change(&self, subject: &Subject) -> Result<Revision, StoreError> {
        let row = sqlx::query(shared::LAST_CHANGE)
            .bind(subject.0.as_str())
            .bind(subject.1.as_ref().map_or("", GameId::as_str))
            .fetch_one(&self.pool)
            .await?;
        Ok(read_number(&row)?.unwrap_or(0))
    }

    async fn next_due_ms(&self) -> Result<Option<u64>, StoreError> {
        read_number(&sqlx::query(shared::NEXT_DUE).fetch_one(&self.pool).await?)
    }

    async fn due(&self, until_ms: u64, limit: u32) -> Result<Due, StoreError> {
        let rows = |statement| {
            sqlx::query(statement).bind(signed(until_ms)).bind(i64::from(limit)).fetch_all(&self.pool)
        };
        Ok(Due {
            ownerships: read_all(&rows(shared::DUE_OWNERSHIPS).await?, read_key)?,
            reservations: read_all(&rows(shared::DUE_RESERVATIONS).await?, read_request_id)?,
        })
    }

    async fn commit(&self, head: &Head, batch: &Batch) -> Result<(), CommitError> {
        let mut slot = self.committing.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            // Made before the statement, so that failing to get one is known to have written nothing.
            None => self.connect_to_commit().await.map_err(StoreError::from)?,
        };
        // The connection is dropped then, and the server left to itself: only a new epoch, which waits for it, may tell.
        let patience = batch.patience.unwrap_or(Duration::MAX).min(self.commit_timeout);
        let committed =
            match tokio::time::timeout(patience, commit::commit(&mut connection, head, batch)).await {
                Ok(committed) => committed,
                Err(_) => Err(CommitError::Unknown(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
            };
        if !matches!(
            committed,
            Err(CommitError::Unknown(_) | CommitError::Before(StoreError::Unreachable(_)))
        ) {
            *slot = Some(connection);
        }
        committed
    }

    async fn check(&self, at: Revision, keys: &[Key]) -> Result<Vec<Entitlement>, StoreError> {
        let (customer_ids, game_ids) = key_columns(keys);
        let rows = sqlx::query(sql::CHECK)
            .bind(signed(at))
            .bind(customer_ids)
            .bind(game_ids)
            .fetch_all(&self.pool)
            .await?;
        read_all(&rows, read_entitlement)
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
        read_all(&rows, read_entitlement)
    }

    async fn history(
        &self,
        at: Revision,
        subject: &Subject,
        after: Option<&HistoryPlace>,
        limit: u32,
    ) -> Result<Vec<Ownership>, StoreError> {
        let rows = sqlx::query(shared::HISTORY)
            .bind(signed(at))
            .bind(subject.0.as_str())
            .bind(subject.1.as_ref().map_or("", GameId::as_str))
            .bind(after.map_or(-1, |after| signed(after.began)))
            .bind(after.map_or("", |after| after.game_id.as_str()))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        read_all(&rows, read_ownership)
    }

    async fn explain(&self, at: Revision, key: &Key) -> Result<Option<Ownership>, StoreError> {
        let row = sqlx::query(shared::EXPLAIN)
            .bind(signed(at))
            .bind(key.0.as_str())
            .bind(key.1.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_ownership).transpose()
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
        read_all(&rows, read_entitlement)
    }

    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError> {
        let rows = sqlx::query(shared::LOG)
            .bind(signed(after))
            .bind(i64::from(limit_batches))
            .fetch_all(&self.pool)
            .await?;
        let batches = read_all(&rows, |row| record::decode_commits(row.try_get(0)?, after))?;
        Ok(batches.into_iter().flatten().collect())
    }

    async fn digest_checkpoint(&self) -> Result<Option<Sums>, StoreError> {
        let row = sqlx::query(shared::DIGEST_CHECKPOINT).fetch_optional(&self.pool).await?;
        row.as_ref().map(read_sums).transpose()
    }

    async fn copies(&self, limit: u32) -> Result<Vec<CopyRow>, StoreError> {
        let rows = sqlx::query(shared::COPIES).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        read_all(&rows, read_copy)
    }

    async fn put_copies(
        &self,
        leader_id: Uuid,
        copies: &[CopyRow],
        forget_before_ms: u64,
    ) -> Result<(), StoreError> {
        if !copies.is_empty() {
            let names = copies.iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
            let versions = copies.iter().map(|one| one.version.as_str()).collect::<Vec<_>>();
            let column =
                |value: fn(&CopyRow) -> u64| copies.iter().map(|one| signed(value(one))).collect::<Vec<_>>();
            sqlx::query(sql::PUT_COPIES)
                .bind(names)
                .bind(versions)
                .bind(column(|one| one.revision))
                .bind(copies.iter().map(|one| one.digest_state).collect::<Vec<_>>())
                .bind(column(|one| one.repaired_partitions))
                .bind(column(|one| one.last_seen_ms))
                .bind(leader_id)
                .execute(&self.pool)
                .await?;
        }
        let query = sqlx::query(shared::FORGET_COPIES).bind(signed(forget_before_ms)).bind(leader_id);
        query.execute(&self.pool).await?;
        Ok(())
    }

    async fn trim_mark_ms(&self) -> Result<u64, StoreError> {
        Ok(read_number(&sqlx::query(shared::TRIM_MARK).fetch_one(&self.pool).await?)?.unwrap_or(0))
    }

    async fn raise_trim_mark(&self, leader_id: Uuid, mark_ms: u64) -> Result<bool, StoreError> {
        let query = sqlx::query(shared::RAISE_TRIM_MARK).bind(signed(mark_ms)).bind(leader_id);
        Ok(query.execute(&self.pool).await?.rows_affected() == 1)
    }

    async fn trim_reservations(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(shared::FORGET_RESERVATIONS).bind(signed(before_ms)).bind(i64::from(limit));
        Ok(query.execute(&self.pool).await?.rows_affected())
    }

    async fn trim(
        &self,
        after: Option<RequestId>,
        before_ms: u64,
        limit: u32,
    ) -> Result<Option<RequestId>, StoreError> {
        let rows = sqlx::query(shared::REQUESTS)
            .bind(after.map_or(Uuid::nil(), |after| after.as_uuid()))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        let (forgettable, last) = read_forgettable(&rows, before_ms, limit)?;
        if !forgettable.is_empty() {
            let ids: Vec<Uuid> = forgettable.iter().map(RequestId::as_uuid).collect();
            sqlx::query(sql::FORGET_REQUESTS).bind(ids).execute(&self.pool).await?;
        }
        Ok(last)
    }

    async fn close(&self) {
        let committing = self.committing.lock().await.take();
        if let Some(connection) = committing
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the connection that commits did not close in order");
        }
        self.pool.close().await;
    }
}
