//! Opens an embedded database.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{Lock, Migrations, OpenError};

/// How an embedded database is opened.
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// How many connections only read. At least 1.
    pub readers: u32,
    /// The page cache of each connection, in KiB.
    pub cache_kib: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 4, cache_kib: 16 * 1024 }
    }
}

/// An embedded database that is open: one connection that writes, a few that only read, and the lock that keeps other
/// processes out. Dropping it lets the lock go.
#[derive(Debug)]
pub struct Sqlite {
    /// Exactly one connection: writers queue here instead of failing with `SQLITE_BUSY`.
    pub writer: SqlitePool,
    /// Connections that only read, and never wait for the writer.
    pub readers: SqlitePool,
    _lock: Lock,
}

/// Opens the database file `path`, makes it and its directory where they are missing, and brings its schema up to date.
///
/// Commits are durable: WAL with `synchronous=FULL`, so that COMMIT returns after the log reached the disk.
///
/// # Errors
///
/// [`OpenError::Locked`] when another process uses the file, [`OpenError::NewerSchema`], or [`OpenError::Failed`].
pub async fn open_sqlite(
    path: &Path,
    options: &SqliteOptions,
    migrations: Migrations,
) -> Result<Sqlite, OpenError> {
    let failed = |error: std::io::Error| OpenError::Failed(format!("{}: {error}", path.display()));
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let lock = Lock::take(path)?;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", format!("-{}", options.cache_kib))
        // A page that is written again and again is carried over into the database once in so many pages of the log.
        .pragma("wal_autocheckpoint", "4000");
    let writer = pool(1).connect_with(connect.clone()).await.map_err(|error| OpenError::from_sqlx(&error))?;
    migrations
        .migrator()
        .run(&writer)
        .await
        .map_err(|error| OpenError::from_migration(&error, &migrations))?;
    let readers = pool(options.readers.max(1))
        .connect_with(connect.create_if_missing(false).pragma("query_only", "on"))
        .await
        .map_err(|error| OpenError::from_sqlx(&error))?;
    Ok(Sqlite { writer, readers, _lock: lock })
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // A connection to a file does not go stale, so it is neither tested before use nor given up.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Migration;
    use sqlx::Row;

    const ONE: &[Migration] =
        &[Migration { version: 1, description: "a table", sql: "CREATE TABLE a (b INTEGER)" }];
    const TWO: &[Migration] =
        &[ONE[0], Migration { version: 2, description: "another", sql: "CREATE TABLE c (d INTEGER)" }];

    #[tokio::test]
    async fn commits_are_durable_and_readers_only_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/data.sqlite");
        let sqlite = open_sqlite(&path, &SqliteOptions::default(), Migrations(ONE)).await.unwrap();
        let pragma = async |name: &'static str| -> String {
            let row = sqlx::query(name).fetch_one(&sqlite.writer).await.unwrap();
            row.try_get::<String, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string())
        };
        assert_eq!(pragma("PRAGMA journal_mode").await, "wal");
        assert_eq!(pragma("PRAGMA synchronous").await, "2", "2 is FULL");
        assert!(sqlx::query("INSERT INTO a VALUES (1)").execute(&sqlite.writer).await.is_ok());
        assert!(sqlx::query("INSERT INTO a VALUES (1)").execute(&sqlite.readers).await.is_err());
    }

    #[tokio::test]
    async fn a_file_in_use_and_a_newer_schema_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.sqlite");
        let open =
            async |migrations| open_sqlite(&path, &SqliteOptions::default(), Migrations(migrations)).await;
        let first = open(TWO).await.unwrap();
        assert!(matches!(open(TWO).await, Err(OpenError::Locked(_))));
        first.writer.close().await;
        first.readers.close().await;
        drop(first);
        assert!(matches!(open(ONE).await, Err(OpenError::NewerSchema { found: 2, known: 1 })));
    }
}
