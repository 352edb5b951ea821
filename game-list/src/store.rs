//! All SQL of the copy.

use std::collections::BTreeMap;
use std::path::Path;

use database::{DatabaseConfig, Migration, Migrations, OpenError, Sqlite};
use gameshelf::tokens::Token;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite as Driver, Transaction};
use uuid::Uuid;

use crate::model::{Commit, Entitlement, OwnedGame};

const MIGRATIONS: Migrations = Migrations(&[Migration {
    version: 1,
    description: "copy",
    sql: include_str!("../migrations/sqlite/0001_copy.sql"),
}]);

/// The most rows that one transaction sweeps, so that commits need not wait long behind it.
const SWEEP_MAX_ROWS: i64 = 10_000;

/// The copy could not be read or written. The message is for the log, never for the wire.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database said so.
    #[error("the copy cannot be used: {0}")]
    Database(String),
    /// The copy does not show what the commits begin at.
    #[error("the copy does not show the revision that the commits begin at")]
    Moved,
    /// A row holds what this program never writes.
    #[error("the copy holds a row that this program never writes")]
    Corrupt,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// A part of a customer's list, with what the whole copy showed when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) token: Token,
    pub(crate) games: Vec<OwnedGame>,
}

/// The copy on disk.
#[derive(Debug)]
pub(crate) struct Store {
    database: Sqlite,
}

impl Store {
    /// Opens the copy, and makes it where there is none.
    pub(crate) async fn open(path: &Path, config: &DatabaseConfig) -> Result<Self, OpenError> {
        let options = config.sqlite();
        let open = || database::open_sqlite(path, &options, MIGRATIONS);
        Ok(Self { database: database::open_with_retry(config.retry(), open).await? })
    }

    /// What the copy shows; none before the first snapshot was complete.
    pub(crate) async fn checkpoint(&self) -> Result<Option<Token>, StoreError> {
        let row = sqlx::query("SELECT store_id, incarnation, revision FROM copy_state")
            .fetch_optional(&self.database.readers)
            .await?;
        row.as_ref().map(token_of).transpose()
    }

    /// A page of a customer's games, ordered by game id, and what the copy shows: in one statement, so of one moment.
    /// None where there is no copy yet.
    pub(crate) async fn page(
        &self,
        customer_id: &str,
        after_game_id: &str,
        limit: u32,
    ) -> Result<Option<Page>, StoreError> {
        let rows = sqlx::query(
            "SELECT s.store_id, s.incarnation, s.revision, e.game_id, e.since_revision
             FROM copy_state AS s LEFT JOIN entitlement AS e
               ON e.generation = s.generation AND e.customer_id = $1 AND e.game_id > $2
             ORDER BY e.game_id LIMIT $3",
        )
        .bind(customer_id)
        .bind(after_game_id)
        .bind(limit)
        .fetch_all(&self.database.readers)
        .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let token = token_of(first)?;
        let games = rows.iter().filter_map(|row| owned_game(row).transpose()).collect::<Result<_, _>>()?;
        Ok(Some(Page { token, games }))
    }

    /// Prepares for a snapshot: sweeps all leftovers, and returns the generation to gather it under.
    pub(crate) async fn begin_build(&self) -> Result<i64, StoreError> {
        while self.sweep().await? {}
        let row = sqlx::query("SELECT coalesce(max(generation), 0) + 1 FROM copy_state")
            .fetch_one(&self.database.readers)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Adds rows to the snapshot that is gathered under `generation`.
    pub(crate) async fn gather(&self, generation: i64, rows: &[Entitlement]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let rows = rows
            .iter()
            .map(|row| (row.customer_id.as_str(), row.game_id.as_str(), row.since_revision.cast_signed()));
        sqlx::query(
            "INSERT INTO entitlement (generation, customer_id, game_id, since_revision)
             SELECT $1, value ->> 0, value ->> 1, value ->> 2 FROM json_each($2)",
        )
        .bind(generation)
        .bind(json(rows)?)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Puts the snapshot in the place of the copy.
    pub(crate) async fn swap(&self, generation: i64, token: Token) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO copy_state (one, generation, store_id, incarnation, revision)
             VALUES (1, $1, $2, $3, $4)",
        )
        .bind(generation)
        .bind(token.store_id.as_bytes().as_slice())
        .bind(token.incarnation.cast_signed())
        .bind(token.revision.cast_signed())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Applies commits and moves the checkpoint from `from` to `to`, in one transaction.
    pub(crate) async fn apply(&self, from: Token, to: Token, commits: &[Commit]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        move_checkpoint(&mut transaction, from, to).await?;
        let net = net_effect(commits);
        let granted: Vec<_> = net
            .iter()
            .filter_map(|((customer, game), since)| since.map(|since| (customer, game, since.cast_signed())))
            .collect();
        let revoked: Vec<_> = net.iter().filter(|(_, since)| since.is_none()).map(|(key, _)| key).collect();
        if !granted.is_empty() {
            sqlx::query(
                "INSERT INTO entitlement (generation, customer_id, game_id, since_revision)
                 SELECT s.generation, value ->> 0, value ->> 1, value ->> 2
                 FROM json_each($1) CROSS JOIN copy_state AS s
                 WHERE true
                 ON CONFLICT DO UPDATE SET since_revision = excluded.since_revision",
            )
            .bind(json(granted)?)
            .execute(&mut *transaction)
            .await?;
        }
        if !revoked.is_empty() {
            sqlx::query(
                "DELETE FROM entitlement
                 WHERE generation = (SELECT generation FROM copy_state)
                   AND (customer_id, game_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
            )
            .bind(json(revoked)?)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Deletes some rows that are no part of the copy. Says whether there may be more.
    pub(crate) async fn sweep(&self) -> Result<bool, StoreError> {
        let swept = sqlx::query(
            "DELETE FROM entitlement WHERE (generation, customer_id, game_id) IN (
               SELECT generation, customer_id, game_id FROM entitlement
               WHERE generation < coalesce((SELECT generation FROM copy_state), 0)
                  OR generation > coalesce((SELECT generation FROM copy_state), 0)
               LIMIT $1)",
        )
        .bind(SWEEP_MAX_ROWS)
        .execute(&self.database.writer)
        .await?;
        Ok(swept.rows_affected() > 0)
    }

    // IMMEDIATE takes the write lock at once, so that a transaction cannot fail half-way for want of it.
    async fn begin(&self) -> Result<Transaction<'static, Driver>, StoreError> {
        Ok(self.database.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// The comparison makes it impossible to apply commits to a copy that they do not belong to.
async fn move_checkpoint(
    transaction: &mut Transaction<'static, Driver>,
    from: Token,
    to: Token,
) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE copy_state SET revision = $1 WHERE store_id = $2 AND incarnation = $3 AND revision = $4",
    )
    .bind(to.revision.cast_signed())
    .bind(from.store_id.as_bytes().as_slice())
    .bind(from.incarnation.cast_signed())
    .bind(from.revision.cast_signed())
    .execute(&mut **transaction)
    .await?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Moved) }
}

/// What commits come to in the end, by customer and game: since when it is owned, or none when it is not.
fn net_effect(commits: &[Commit]) -> BTreeMap<(&str, &str), Option<u64>> {
    let mut net = BTreeMap::new();
    for commit in commits {
        for change in &commit.changes {
            let key = (change.customer_id.as_str(), change.game_id.as_str());
            net.insert(key, change.granted.then_some(commit.revision));
        }
    }
    net
}

fn json<T: serde::Serialize>(rows: impl IntoIterator<Item = T>) -> Result<String, StoreError> {
    let rows: Vec<T> = rows.into_iter().collect();
    serde_json::to_string(&rows).map_err(|error| StoreError::Database(error.to_string()))
}

fn token_of(row: &SqliteRow) -> Result<Token, StoreError> {
    let store_id: &[u8] = row.try_get("store_id")?;
    Ok(Token {
        store_id: Uuid::from_slice(store_id).map_err(|_| StoreError::Corrupt)?,
        incarnation: row.try_get::<i64, _>("incarnation")?.cast_unsigned(),
        revision: row.try_get::<i64, _>("revision")?.cast_unsigned(),
    })
}

/// The game of a row, or none for a customer without games.
fn owned_game(row: &SqliteRow) -> Result<Option<OwnedGame>, StoreError> {
    let Some(game_id) = row.try_get::<Option<String>, _>("game_id")? else { return Ok(None) };
    let since_revision = row.try_get::<i64, _>("since_revision")?.cast_unsigned();
    Ok(Some(OwnedGame { game_id, since_revision }))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
