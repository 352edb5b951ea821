//! What changes the copy. Statements take whole sets of rows, since each costs a way to the database's thread and back.

use std::sync::atomic::Ordering;

use copy::{Batch, NetChange, Row};
use gameshelf::digest;
use gameshelf::tokens::Token;
use sqlx::{Row as _, Sqlite as Driver, Transaction};

use super::{Store, StoreError, row_of};

/// Stands for the revision of a row that is to go, within a transaction.
const GONE: i64 = -1;

/// The most rows that one statement takes over or puts in the place of others.
pub(super) const STATEMENT_MAX_ROWS: usize = 10_000;

impl Store {
    /// Prepares for a snapshot: sweeps all leftovers, and chooses the generation to gather it under.
    pub(crate) async fn begin_build(&self) -> Result<(), StoreError> {
        while self.sweep().await? {}
        let row = sqlx::query("SELECT coalesce(max(generation), 0) + 1 FROM shown")
            .fetch_one(&self.database.readers)
            .await?;
        self.staging.store(row.try_get(0)?, Ordering::Relaxed);
        Ok(())
    }

    /// Adds rows to the snapshot that is gathered.
    pub(crate) async fn gather(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        insert(&mut transaction, self.staging.load(Ordering::Relaxed), rows).await?;
        Ok(transaction.commit().await?)
    }

    /// Puts the snapshot in the place of the copy.
    pub(crate) async fn swap(&self, token: Token) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO shown (one, generation, store_id, incarnation, revision)
             VALUES (1, $1, $2, $3, $4)",
        )
        .bind(self.staging.load(Ordering::Relaxed))
        .bind(token.store_id.as_bytes().as_slice())
        .bind(token.incarnation.cast_signed())
        .bind(token.revision.cast_signed())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Applies commits and moves the checkpoint, in one transaction. Returns the rows of before that they changed.
    pub(crate) async fn apply(&self, batch: &Batch<'_>) -> Result<Vec<Row>, StoreError> {
        let mut transaction = self.begin().await?;
        let generation = move_checkpoint(&mut transaction, batch.from, batch.to).await?;
        let before = before(&mut transaction, generation, &batch.net).await?;
        put(&mut transaction, generation, &batch.net).await?;
        transaction.commit().await?;
        Ok(before)
    }

    /// Puts rows in the place of those of one partition of a copy that shows `checkpoint`.
    pub(crate) async fn replace(
        &self,
        partition: u8,
        checkpoint: Token,
        rows: &[Row],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let generation = move_checkpoint(&mut transaction, checkpoint, checkpoint).await?;
        sqlx::query("DELETE FROM owned WHERE generation = $1 AND customer_partition = $2")
            .bind(generation)
            .bind(partition)
            .execute(&mut *transaction)
            .await?;
        for rows in rows.chunks(STATEMENT_MAX_ROWS) {
            insert(&mut transaction, generation, rows).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Deletes one partition of rows that are no part of the copy: not more, so that commits need not wait long behind it. Says
    /// whether there may be more.
    pub(crate) async fn sweep(&self) -> Result<bool, StoreError> {
        let swept = sqlx::query(
            "DELETE FROM owned WHERE (generation, customer_partition) = (
               SELECT generation, customer_partition FROM owned
               WHERE generation < coalesce((SELECT generation FROM shown), 0)
                  OR generation > coalesce((SELECT generation FROM shown), 0)
               LIMIT 1)",
        )
        .execute(&self.database.writer)
        .await?;
        Ok(swept.rows_affected() > 0)
    }

    /// Takes over what a version before this one kept in other tables, so that an upgrade needs no snapshot. Once.
    pub(super) async fn take_over(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let old = sqlx::query(
            "SELECT generation, (SELECT coalesce(max(generation), 0) + 1 FROM shown) AS next FROM copy_state",
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(old) = old else { return Ok(()) };
        let (generation, next): (i64, i64) = (old.try_get("generation")?, old.try_get("next")?);
        let (mut customer_id, mut game_id) = (String::new(), String::new());
        loop {
            let page = sqlx::query(
                "SELECT customer_id, game_id, since_revision FROM entitlement
                 WHERE generation = $1 AND (customer_id, game_id) > ($2, $3)
                 ORDER BY customer_id, game_id LIMIT 10000",
            )
            .bind(generation)
            .bind(&customer_id)
            .bind(&game_id)
            .fetch_all(&mut *transaction)
            .await?;
            let rows = page.iter().map(|row| {
                let customer_id: String = row.try_get("customer_id")?;
                row_of(digest::partition(&customer_id), row)
            });
            let rows: Vec<Row> = rows.collect::<Result<_, StoreError>>()?;
            let Some(last) = rows.last() else { break };
            (customer_id, game_id) = (last.customer_id.clone(), last.game_id.clone());
            insert(&mut transaction, next, &rows).await?;
        }
        sqlx::query(
            "INSERT OR REPLACE INTO shown (one, generation, store_id, incarnation, revision)
             SELECT 1, $1, store_id, incarnation, revision FROM copy_state",
        )
        .bind(next)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM copy_state").execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM entitlement").execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    // IMMEDIATE takes the write lock at once, so that a transaction cannot fail half-way for want of it.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Driver>, StoreError> {
        Ok(self.database.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Moves the checkpoint, and returns the generation that is shown. The comparison makes it impossible to apply commits to a
/// copy that they do not belong to.
async fn move_checkpoint(
    transaction: &mut Transaction<'static, Driver>,
    from: Token,
    to: Token,
) -> Result<i64, StoreError> {
    let moved = sqlx::query(
        "UPDATE shown SET revision = $1 WHERE store_id = $2 AND incarnation = $3 AND revision = $4
         RETURNING generation",
    )
    .bind(to.revision.cast_signed())
    .bind(from.store_id.as_bytes().as_slice())
    .bind(from.incarnation.cast_signed())
    .bind(from.revision.cast_signed())
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(moved.ok_or(StoreError::Moved)?.try_get(0)?)
}

/// The rows that changes are about, as they are.
async fn before(
    transaction: &mut Transaction<'static, Driver>,
    generation: i64,
    changes: &[NetChange<'_>],
) -> Result<Vec<Row>, StoreError> {
    let keys = changes.iter().map(|change| (change.partition, change.customer_id, change.game_id));
    // CROSS JOIN keeps the order: one look into the table for each key.
    let rows = sqlx::query(
        "SELECT o.customer_partition, o.customer_id, o.game_id, o.since_revision
         FROM json_each($2) AS key CROSS JOIN owned AS o
           ON o.generation = $1 AND o.customer_partition = key.value ->> 0
          AND o.customer_id = key.value ->> 1 AND o.game_id = key.value ->> 2",
    )
    .bind(generation)
    .bind(json(keys)?)
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter().map(|row| row_of(row.try_get("customer_partition")?, row)).collect()
}

/// Writes what changes come to. Rows that are to go are marked first: see the index `owned_gone`.
async fn put(
    transaction: &mut Transaction<'static, Driver>,
    generation: i64,
    changes: &[NetChange<'_>],
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows = changes.iter().map(|change| {
        let since = change.since_revision.map_or(GONE, u64::cast_signed);
        (change.partition, change.customer_id, change.game_id, since)
    });
    sqlx::query(
        "INSERT INTO owned (generation, customer_partition, customer_id, game_id, since_revision)
         SELECT $1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($2) WHERE true
         ON CONFLICT DO UPDATE SET since_revision = excluded.since_revision",
    )
    .bind(generation)
    .bind(json(rows)?)
    .execute(&mut **transaction)
    .await?;
    if changes.iter().any(|change| change.since_revision.is_none()) {
        sqlx::query("DELETE FROM owned INDEXED BY owned_gone WHERE generation = $1 AND since_revision < 0")
            .bind(generation)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

async fn insert(
    transaction: &mut Transaction<'static, Driver>,
    generation: i64,
    rows: &[Row],
) -> Result<(), StoreError> {
    let rows = rows.iter().map(|row| {
        (row.partition, row.customer_id.as_str(), row.game_id.as_str(), row.since_revision.cast_signed())
    });
    sqlx::query(
        "INSERT INTO owned (generation, customer_partition, customer_id, game_id, since_revision)
         SELECT $1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($2)",
    )
    .bind(generation)
    .bind(json(rows)?)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) fn json<T: serde::Serialize>(rows: impl IntoIterator<Item = T>) -> Result<String, StoreError> {
    let rows: Vec<T> = rows.into_iter().collect();
    serde_json::to_string(&rows).map_err(|error| StoreError::Database(error.to_string()))
}
