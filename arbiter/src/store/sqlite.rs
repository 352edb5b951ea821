//! The store on SQLite: embedded, one file, one connection that writes.

mod commit;
mod log;
mod memtable;
mod merge;
mod page;
#[cfg(test)]
mod tests;
mod witness;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use database::Sqlite;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use uuid::Uuid;

use memtable::Memtable;
use witness::Witness;

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

/// Every set of rows is handed over as one JSON array and read by `json_each`, and every set of ids as one run of bytes.
mod sql {
    pub(super) const LOAD_REQUESTS: &str = "
        SELECT r.request_id, r.content_hash, r.revision, r.outcome, r.decided_at_ms
        FROM json_each($1) AS wanted CROSS JOIN request AS r ON r.request_id = unhex(wanted.value)";

    pub(super) const LOAD_ENTITLEMENTS: &str = "
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id, e.ends_at_ms,
          e.from_stock
        FROM json_each($1) AS wanted CROSS JOIN entitlement AS e
          ON e.customer_id = wanted.value ->> 0 AND e.game_id = wanted.value ->> 1";

    pub(super) const RESERVATIONS: &str = "
        SELECT r.reservation_id, r.customer_id, r.game_id, r.status, r.expires_at_ms, r.from_stock, r.changed_at,
          r.changed_at_ms
        FROM json_each($1) AS wanted CROSS JOIN reservation AS r ON r.reservation_id = unhex(wanted.value)
        UNION ALL
        SELECT r.reservation_id, r.customer_id, r.game_id, r.status, r.expires_at_ms, r.from_stock, r.changed_at,
          r.changed_at_ms
        FROM json_each($2) AS wanted CROSS JOIN reservation AS r ON r.customer_id = wanted.value AND r.status = 1";

    pub(super) const CHECK: &str = "
        SELECT e.customer_id, e.game_id, e.valid_from, e.granted_at_ms, e.reason, e.actor, e.order_id, e.ends_at_ms,
          e.from_stock
        FROM json_each($2) AS wanted CROSS JOIN entitlement AS e
          ON e.customer_id = wanted.value ->> 0 AND e.game_id = wanted.value ->> 1
        WHERE e.valid_from <= $1
        UNION ALL
        SELECT p.customer_id, p.game_id, p.valid_from, p.granted_at_ms, p.reason, p.actor, p.order_id, p.ends_at_ms,
          p.from_stock
        FROM json_each($2) AS wanted CROSS JOIN entitlement_past AS p
          ON p.customer_id = wanted.value ->> 0 AND p.game_id = wanted.value ->> 1
        WHERE p.valid_from <= $1 AND p.valid_to > $1";

    pub(super) const PUT_COPIES: &str = "
        INSERT INTO copy (name, version, revision, digest_state, repaired_partitions, last_seen_ms)
        SELECT value ->> 0, value ->> 1, value ->> '$[2][0]', value ->> '$[2][1]', value ->> '$[2][2]', value ->> '$[2][3]'
        FROM json_each($1) WHERE EXISTS (SELECT 1 FROM head WHERE leader_id = $2)
        ON CONFLICT (name) DO UPDATE SET version = excluded.version, revision = excluded.revision,
          digest_state = excluded.digest_state, repaired_partitions = excluded.repaired_partitions,
          last_seen_ms = excluded.last_seen_ms";

    pub(super) const HEAD: &str = "SELECT store_id, incarnation, epoch, revision FROM head";

    pub(super) const BEGIN_INCARNATION: &str = "
        UPDATE head SET incarnation = CASE WHEN $2 THEN max(incarnation + 1, $3) ELSE incarnation END WHERE leader_id = $1
        RETURNING store_id, incarnation, epoch, revision";

    pub(super) const FLUSHED: &str = "SELECT revision, flushed_to FROM head";

    pub(super) const FORGET_REQUESTS: &str =
        "DELETE FROM request WHERE request_id IN (SELECT unhex(value) FROM json_each($1))";
}

/// How many rows are carried over in one transaction where no batch does it beside: the writer waits for it.
const FLUSHED_AT_ONCE: usize = 512;
/// How many batches of the log are redone at once when the store is opened.
const REDONE_AT_ONCE: u32 = 64;
/// How many entitlements are looked up at once when the store is opened.
const LOOKED_UP_AT_ONCE: usize = 1_000;

/// The store on SQLite.
#[derive(Debug)]
pub(super) struct SqliteStore {
    database: Sqlite,
    /// The connection that writes, out of its pool: a pool asks a connection whether it lives each time that it gets it
    /// back, which costs as much as a small statement. None once the store is closed.
    writer: Mutex<Option<SqliteConnection>>,
    file: PathBuf,
    /// What stood beside the file when it was opened.
    witness: Option<Witness>,
    /// Whether a process leads that puts something there.
    is_witnessed: AtomicBool,
    /// Whether a COMMIT failed. Nothing may be written any more: what waits in memory may be what is owned, or what was.
    has_failed: AtomicBool,
    /// Whether rows are being carried over without a batch. Whoever does it may be dropped half way.
    is_flushing: AtomicBool,
    /// Changed by whoever holds the connection that writes, and by nobody else. Who reads looks here first and into the tables then:
    /// a row that leaves is in a table before it is gone from here.
    memtable: RwLock<Memtable>,
    /// How many rows it has.
    waiting: Arc<AtomicI64>,
}

impl SqliteStore {
    /// The store on an open database, whose file is `file`. About `memtable_rows` entitlements wait in memory before they are written
    /// into their table.
    pub(super) async fn new(database: Sqlite, file: &Path, memtable_rows: usize) -> Result<Self, StoreError> {
        let witness = Witness::read(file);
        let mut writer = database.writer.acquire().await?.detach();
        let memtable = recover(&mut writer, memtable_rows).await?;
        let (waiting, memtable) = (memtable::observed(), RwLock::new(memtable));
        let store = Self {
            database,
            writer: Mutex::new(Some(writer)),
            file: file.to_owned(),
            witness,
            is_witnessed: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            is_flushing: AtomicBool::new(false),
            memtable,
            waiting,
        };
        store.change_memtable(|_| {});
        Ok(store)
    }

    fn memtable(&self) -> RwLockReadGuard<'_, Memtable> {
        self.memtable.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called while the connection that writes is held.
    fn change_memtable(&self, change: impl FnOnce(&mut Memtable)) {
        let mut memtable = self.memtable.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut memtable);
        self.waiting.store(i64::try_from(memtable.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Carries rows over until all that began by a revision are in the table. The writer goes on between. Returns false where another
    /// process committed something: what waits here is nothing to go by any more.
    async fn flush_to(&self, revision: Revision) -> Result<bool, StoreError> {
        loop {
            let mut writer = self.writer().await?;
            if self.has_failed.load(Ordering::Relaxed) {
                return Err(StoreError::Failed(failed()));
            }
            let (head, flush) = {
                let memtable = self.memtable();
                if memtable.flushed_to() >= revision.min(memtable.head()) {
                    return Ok(true);
                }
                (memtable.head(), memtable.flush(FLUSHED_AT_ONCE))
            };
            self.is_flushing.store(true, Ordering::Relaxed);
            let flushed = commit::flush(&mut writer, head, &flush).await;
            self.is_flushing.store(false, Ordering::Relaxed);
            match flushed {
                Ok(()) => self.change_memtable(|memtable| memtable.flushed(flush)),
                Err(CommitError::Before(error)) => return Err(error),
                Err(CommitError::Fenced | CommitError::Conflict) => return Ok(false),
                Err(CommitError::Fatal(error) | CommitError::Unknown(error)) => {
                    self.has_failed.store(true, Ordering::Relaxed);
                    commit::roll_back(&mut writer).await;
                    return Err(StoreError::Failed(error));
                }
            }
        }
    }

    async fn head(&self) -> Result<Head, StoreError> {
        read_head(&sqlx::query(sql::HEAD).fetch_one(&mut *self.writer().await?).await?)
    }

    /// Notes beside the file how far it came.
    async fn witness_end(&self) -> Result<(), StoreError> {
        let Head { epoch, revision, .. } = self.head().await?;
        Witness { epoch, revision }.write(&self.file).await
    }

    /// The connection that writes, with no transaction open.
    async fn writer(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let writer = MutexGuard::try_map(self.writer.lock().await, Option::as_mut);
        let mut writer = writer.map_err(|_| closed())?;
        if self.is_flushing.load(Ordering::Relaxed) {
            // Whatever became of it: what was carried over is only carried over again.
            commit::roll_back(&mut writer).await;
            self.is_flushing.store(false, Ordering::Relaxed);
        }
        Ok(writer)
    }
}

/// There is no connection that writes any more.
fn closed() -> StoreError {
    StoreError::Unreachable(sqlx::Error::PoolClosed)
}

/// A COMMIT failed, and nothing may be written any more.
fn failed() -> sqlx::Error {
    sqlx::Error::Protocol(
        "a COMMIT failed before; the next start reads from the log what became of it".into(),
    )
}

/// A value as JSON. Texts, numbers and lists of them always are.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn keys_json(keys: &[Key]) -> String {
    let keys = keys.iter().map(|(customer_id, game_id)| (customer_id.as_str(), game_id.as_str()));
    json(&keys.collect::<Vec<_>>())
}

fn ids_json(ids: &[RequestId]) -> String {
    json(&ids.iter().map(|id| id.as_uuid().simple().to_string()).collect::<Vec<_>>())
}

row_readers!(SqliteRow);

/// Finds what the process before left in the log alone.
async fn recover(writer: &mut SqliteConnection, memtable_rows: usize) -> Result<Memtable, StoreError> {
    let row = sqlx::query(sql::FLUSHED).fetch_one(&mut *writer).await?;
    let (head, flushed_to) = (unsigned(row.try_get(0)?)?, unsigned(row.try_get(1)?)?);
    let mut memtable = Memtable::new(memtable_rows, head, flushed_to);
    let mut after = flushed_to;
    while after < head {
        let query = sqlx::query(shared::LOG).bind(signed(after)).bind(REDONE_AT_ONCE);
        let batches = read_all(&query.fetch_all(&mut *writer).await?, |row| {
            record::decode_commits(row.try_get(0)?, after)
        })?;
        let lacks = |revision| StoreError::Corrupt(format!("the log lacks revision {revision}"));
        let begin = after;
        for commit in batches.into_iter().flatten() {
            if commit.revision != after + 1 {
                return Err(lacks(after + 1));
            }
            memtable.redo(&commit);
            after = commit.revision;
        }
        if after == begin {
            return Err(lacks(after + 1));
        }
    }
    memtable.redone();
    for keys in memtable.keys().chunks(LOOKED_UP_AT_ONCE) {
        let query = sqlx::query(sql::LOAD_ENTITLEMENTS).bind(keys_json(keys));
        for present in read_all(&query.fetch_all(&mut *writer).await?, read_entitlement)? {
            memtable.forget(&present.key());
        }
    }
    Ok(memtable)
}

#[async_trait]
impl Store for SqliteStore {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        // The lock on the file lets nobody else in.
        None
    }

    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError> {
        let row = sqlx::query(shared::LEAD)
            .bind(leader_id)
            .bind(take_over)
            .fetch_optional(&mut *self.writer().await?)
            .await?;
        row.as_ref().map(read_head).transpose()
    }

    async fn settle_incarnation(
        &self,
        leader_id: Uuid,
        restored: bool,
        now_ms: u64,
    ) -> Result<Option<Head>, StoreError> {
        let head = self.head().await?;
        // To lead made the newest epoch.
        let is_doubted = Witness::doubts(self.witness, head.epoch.saturating_sub(1), head.revision);
        let begins = restored || (is_doubted && !self.is_witnessed.load(Ordering::Relaxed));
        let query = sqlx::query(sql::BEGIN_INCARNATION).bind(leader_id).bind(begins).bind(signed(now_ms));
        let row = query.fetch_optional(&mut *self.writer().await?).await?;
        let head = row.as_ref().map(read_head).transpose()?;
        if let Some(head) = &head {
            // Afterwards: a process that is killed in between begins anew twice, which is no harm.
            Witness { epoch: head.epoch, revision: 0 }.write(&self.file).await?;
            self.is_witnessed.store(true, Ordering::Relaxed);
        }
        Ok(head)
    }

    async fn stocks(&self) -> Result<Vec<Stock>, StoreError> {
        read_all(&sqlx::query(shared::STOCKS).fetch_all(&mut *self.writer().await?).await?, read_stock)
    }

    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let mut connection = self.writer().await?;
        if !requests.is_empty() {
            let query = sqlx::query(sql::LOAD_REQUESTS).bind(ids_json(requests));
            loaded.requests = read_all(&query.fetch_all(&mut *connection).await?, read_request)?;
        }
        if !keys.is_empty() {
            let query = sqlx::query(sql::LOAD_ENTITLEMENTS).bind(keys_json(keys));
            loaded.entitlements = read_all(&query.fetch_all(&mut *connection).await?, read_entitlement)?;
            // Nothing changes while the connection that writes is held.
            let memtable = self.memtable();
            loaded.entitlements.extend(keys.iter().filter_map(|key| memtable.get(Revision::MAX, key)));
        }
        Ok(loaded)
    }

    async fn reservations(
        &self,
        reservations: &[ReservationId],
        customers: &[CustomerId],
    ) -> Result<Vec<Reservation>, StoreError> {
        let customers: Vec<&str> = customers.iter().map(CustomerId::as_str).collect();
        let rows = sqlx::query(sql::RESERVATIONS)
            .bind(ids_json(reservations))
            .bind(json(&customers))
            .fetch_all(&mut *self.writer().await?)
            .await?;
        read_all(&rows, read_reservation)
    }

    async fn last_change(&self, subject: &Subject) -> Result<Revision, StoreError> {
        let mut writer = self.writer().await?;
        let row = sqlx::query(shared::LAST_CHANGE)
            .bind(subject.0.as_str())
            .bind(subject.1.as_ref().map_or("", GameId::as_str))
            .fetch_one(&mut *writer)
            .await?;
        let waiting = self.memtable().of(Revision::MAX, subject);
        let waiting = waiting.iter().map(|one| one.valid_from).max();
        Ok(read_number(&row)?.max(waiting).unwrap_or(0))
    }

    async fn next_due_ms(&self) -> Result<Option<u64>, StoreError> {
        read_number(&sqlx::query(shared::NEXT_DUE).fetch_one(&mut *self.writer().await?).await?)
    }

    async fn due(&self, until_ms: u64, limit: u32) -> Result<Due, StoreError> {
        let mut writer = self.writer().await?;
        let due = |statement| sqlx::query(statement).bind(signed(until_ms)).bind(limit);
        let ownerships = due(shared::DUE_OWNERSHIPS).fetch_all(&mut *writer).await?;
        let reservations = due(shared::DUE_RESERVATIONS).fetch_all(&mut *writer).await?;
        Ok(Due {
            ownerships: read_all(&ownerships, read_key)?,
            reservations: read_all(&reservations, read_request_id)?,
        })
    }

    async fn commit(&self, head: &Head, batch: &Batch) -> Result<(), CommitError> {
        let mut writer = self.writer().await?;
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(CommitError::Fatal(failed()));
        }
        let plan = self.memtable().plan(batch).ok_or(CommitError::Conflict)?;
        let committed = commit::commit(&mut writer, head, batch, &plan).await;
        if matches!(committed, Err(CommitError::Fatal(_))) {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        committed?;
        self.change_memtable(|memtable| memtable.committed(plan, batch));
        Ok(())
    }

    async fn check(&self, at: Revision, keys: &[Key]) -> Result<Vec<Entitlement>, StoreError> {
        let waiting: Vec<_> = {
            let memtable = self.memtable();
            keys.iter().filter_map(|key| memtable.get(at, key)).collect()
        };
        let rows = sqlx::query(sql::CHECK)
            .bind(signed(at))
            .bind(keys_json(keys))
            .fetch_all(&self.database.readers)
            .await?;
        Ok(merge::entitlements(read_all(&rows, read_entitlement)?, waiting, usize::MAX))
    }

    async fn list(
        &self,
        at: Revision,
        customer_id: &CustomerId,
        after: Option<&GameId>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError> {
        let waiting = self.memtable().list(at, customer_id, after, limit as usize);
        let rows = sqlx::query(shared::LIST)
            .bind(signed(at))
            .bind(customer_id.as_str())
            .bind(after.map_or("", GameId::as_str))
            .bind(limit)
            .fetch_all(&self.database.readers)
            .await?;
        Ok(merge::entitlements(read_all(&rows, read_entitlement)?, waiting, limit as usize))
    }

    async fn history(
        &self,
        at: Revision,
        subject: &Subject,
        after: Option<&HistoryPlace>,
        limit: u32,
    ) -> Result<Vec<Ownership>, StoreError> {
        let waiting = self.memtable().of(at, subject);
        let rows = sqlx::query(shared::HISTORY)
            .bind(signed(at))
            .bind(subject.0.as_str())
            .bind(subject.1.as_ref().map_or("", GameId::as_str))
            .bind(after.map_or(-1, |after| signed(after.began)))
            .bind(after.map_or("", |after| after.game_id.as_str()))
            .bind(limit)
            .fetch_all(&self.database.readers)
            .await?;
        Ok(merge::ownerships(read_all(&rows, read_ownership)?, waiting, after, limit as usize))
    }

    async fn explain(&self, at: Revision, key: &Key) -> Result<Option<Ownership>, StoreError> {
        let waiting = self.memtable().get(at, key);
        let row = sqlx::query(shared::EXPLAIN)
            .bind(signed(at))
            .bind(key.0.as_str())
            .bind(key.1.as_str())
            .fetch_optional(&self.database.readers)
            .await?;
        Ok(merge::newest(row.as_ref().map(read_ownership).transpose()?, waiting))
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError> {
        let waiting = self.memtable().page(at, after, limit as usize);
        let row = sqlx::query(AssertSqlSafe(page::as_one_row(shared::SNAPSHOT)))
            .bind(signed(at))
            .bind(after.map_or("", |(customer_id, _)| customer_id.as_str()))
            .bind(after.map_or("", |(_, game_id)| game_id.as_str()))
            .bind(limit)
            .fetch_one(&self.database.readers)
            .await?;
        Ok(merge::entitlements(page::read(row.try_get(0)?)?, waiting, limit as usize))
    }

    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError> {
        let rows = sqlx::query(shared::LOG)
            .bind(signed(after))
            .bind(limit_batches)
            .fetch_all(&self.database.readers)
            .await?;
        let batches = read_all(&rows, |row| record::decode_commits(row.try_get(0)?, after))?;
        Ok(batches.into_iter().flatten().collect())
    }

    async fn digest_checkpoint(&self) -> Result<Option<Sums>, StoreError> {
        let row = sqlx::query(shared::DIGEST_CHECKPOINT).fetch_optional(&self.database.readers).await?;
        row.as_ref().map(read_sums).transpose()
    }

    async fn copies(&self, limit: u32) -> Result<Vec<CopyRow>, StoreError> {
        let rows = sqlx::query(shared::COPIES).bind(limit).fetch_all(&self.database.readers).await?;
        read_all(&rows, read_copy)
    }

    async fn put_copies(
        &self,
        leader_id: Uuid,
        copies: &[CopyRow],
        forget_before_ms: u64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        if !copies.is_empty() {
            let rows = copies.iter().map(|one| {
                let numbers = (one.revision, one.digest_state, one.repaired_partitions, one.last_seen_ms);
                (one.name.as_str(), &one.version, numbers)
            });
            let query = sqlx::query(sql::PUT_COPIES).bind(json(&rows.collect::<Vec<_>>())).bind(leader_id);
            query.execute(&mut *writer).await?;
        }
        let query = sqlx::query(shared::FORGET_COPIES).bind(signed(forget_before_ms)).bind(leader_id);
        query.execute(&mut *writer).await?;
        Ok(())
    }

    async fn trim_mark_ms(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(shared::TRIM_MARK).fetch_one(&mut *self.writer().await?).await?;
        Ok(read_number(&row)?.unwrap_or(0))
    }

    async fn raise_trim_mark(&self, leader_id: Uuid, mark_ms: u64) -> Result<bool, StoreError> {
        let query = sqlx::query(shared::RAISE_TRIM_MARK).bind(signed(mark_ms)).bind(leader_id);
        Ok(query.execute(&mut *self.writer().await?).await?.rows_affected() == 1)
    }

    async fn trim_reservations(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(shared::FORGET_RESERVATIONS).bind(signed(before_ms)).bind(limit);
        Ok(query.execute(&mut *self.writer().await?).await?.rows_affected())
    }

    async fn trim(
        &self,
        after: Option<RequestId>,
        before_ms: u64,
        limit: u32,
    ) -> Result<Option<RequestId>, StoreError> {
        // Only the deletion takes the connection that writes, and only where there is something to delete.
        let rows = sqlx::query(shared::REQUESTS)
            .bind(after.map_or(Uuid::nil(), |after| after.as_uuid()))
            .bind(limit)
            .fetch_all(&self.database.readers)
            .await?;
        let (forgettable, last) = read_forgettable(&rows, before_ms, limit)?;
        if !forgettable.is_empty() {
            let query = sqlx::query(sql::FORGET_REQUESTS).bind(ids_json(&forgettable));
            query.execute(&mut *self.writer().await?).await?;
        }
        Ok(last)
    }

    async fn close(&self) {
        // So the tables are whole where nobody runs, and the next process has nothing to redo.
        match self.flush_to(Revision::MAX).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("what waits in memory was not written: another process writes the store");
            }
            Err(error) => {
                tracing::warn!(%error, "what waits in memory could not be written; the next start finds it in the log");
            }
        }
        if self.is_witnessed.load(Ordering::Relaxed)
            && let Err(error) = self.witness_end().await
        {
            tracing::warn!(%error, "how far the store came could not be noted beside it");
        }
        let writer = self.writer.lock().await.take();
        if let Some(writer) = writer
            && let Err(error) = writer.close().await
        {
            tracing::warn!(%error, "the connection that writes did not close in order");
        }
        self.database.close().await;
    }
}
