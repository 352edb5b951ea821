//! All SQL: what reads the copy here, what writes it in `write`, and the catalogue of purchase in `catalog`.

mod catalog;
mod write;

use std::path::Path;
use std::sync::atomic::AtomicI64;

use database::{DatabaseConfig, Migration, Migrations, OpenError, Sqlite};
use gameshelf::digest;
use gameshelf::tokens::Token;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::model::OwnedGame;

const MIGRATIONS: Migrations = Migrations(&[
    Migration { version: 1, description: "copy", sql: include_str!("../migrations/sqlite/0001_copy.sql") },
    Migration {
        version: 2,
        description: "partitions",
        sql: include_str!("../migrations/sqlite/0002_partitions.sql"),
    },
    Migration {
        version: 3,
        description: "catalog",
        sql: include_str!("../migrations/sqlite/0003_catalog.sql"),
    },
]);

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
    /// The generation that a snapshot is gathered under.
    staging: AtomicI64,
}

impl Store {
    fn over(database: Sqlite) -> Self {
        Self { database, staging: AtomicI64::new(0) }
    }

    /// Opens the copy, and makes it where there is none.
    pub(crate) async fn open(path: &Path, config: &DatabaseConfig) -> Result<Self, OpenError> {
        let options = config.sqlite();
        let open = || database::open_sqlite(path, &options, MIGRATIONS);
        let store = Self::over(database::open_with_retry(config.retry(), open).await?);
        store.take_over().await.map_err(|error| OpenError::Failed(error.to_string()))?;
        Ok(store)
    }

    /// What the copy shows; none before the first snapshot was complete.
    pub(crate) async fn checkpoint(&self) -> Result<Option<Token>, StoreError> {
        let row = sqlx::query("SELECT store_id, incarnation, revision FROM shown")
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
             FROM shown AS s LEFT JOIN owned AS e
               ON e.generation = s.generation AND e.customer_partition = $1 AND e.customer_id = $2 AND e.game_id > $3
             ORDER BY e.game_id LIMIT $4",
        )
        .bind(digest::partition(customer_id))
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

    /// All rows of one partition of customers.
    pub(crate) async fn rows(&self, partition: u8) -> Result<Vec<copy::Row>, StoreError> {
        let rows = sqlx::query(
            "SELECT customer_id, game_id, since_revision FROM owned
             WHERE generation = (SELECT generation FROM shown) AND customer_partition = $1",
        )
        .bind(partition)
        .fetch_all(&self.database.readers)
        .await?;
        rows.iter().map(|row| row_of(partition, row)).collect()
    }
}

/// A row of a partition as it stands there, whatever its customer's partition is: what is wrong is to be found.
fn row_of(partition: u8, row: &SqliteRow) -> Result<copy::Row, StoreError> {
    Ok(copy::Row {
        partition,
        customer_id: row.try_get("customer_id")?,
        game_id: row.try_get("game_id")?,
        since_revision: row.try_get::<i64, _>("since_revision")?.cast_unsigned(),
    })
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
