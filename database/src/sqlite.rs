//! Opens an embedded database.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use tokio::task::JoinHandle;

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
    carrier: Carrier,
    _lock: Lock,
}

impl Sqlite {
    /// Closes every connection. The last one carries the whole log over, so that the next start has nothing to recover.
    pub async fn close(&self) {
        self.carrier.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// The pages of the log at which the writer carries it over itself and begins it anew: 128 MiB. Until then each page that was written
/// again and again is carried over once.
const LOG_PAGES: &str = "32000";
/// The time between two carryings beside the writer: what is left for the writer to do is what it wrote in this time.
const CARRY_INTERVAL: Duration = Duration::from_millis(250);

/// Carries the log over into the database while the writer goes on. A writer that did it all by itself would stand still meanwhile,
/// above all while the database file is synced. (SQLite, "Write-Ahead Logging", section 2.3.1.)
#[derive(Debug)]
struct Carrier {
    pool: SqlitePool,
    task: JoinHandle<()>,
}

impl Carrier {
    fn start(pool: SqlitePool) -> Self {
        let connection = pool.clone();
        let task = tokio::spawn(async move {
            let mut is_failing = false;
            loop {
                tokio::time::sleep(CARRY_INTERVAL).await;
                // PASSIVE waits for nobody: what somebody still reads is carried over another time.
                let carried = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&connection).await;
                let error = match carried {
                    Err(sqlx::Error::PoolClosed) => return,
                    carried => carried.err(),
                };
                // Told once: it is tried four times a second, and a full disk may stay full for hours.
                match (error, is_failing) {
                    (Some(error), false) => {
                        tracing::warn!(%error, "the log of the database could not be carried over");
                        is_failing = true;
                    }
                    (None, true) => {
                        tracing::info!("the log of the database is carried over again");
                        is_failing = false;
                    }
                    (Some(_), true) | (None, false) => {}
                }
            }
        });
        Self { pool, task }
    }

    async fn close(&self) {
        self.task.abort();
        self.pool.close().await;
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.task.abort();
    }
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
        // The log is carried over beside the writer; the writer itself does what is left when the log is as long as this.
        .pragma("wal_autocheckpoint", LOG_PAGES);
    let writer = pool(1).connect_with(connect.clone()).await.map_err(|error| OpenError::from_sqlx(&error))?;
    migrations
        .migrator()
        .run(&writer)
        .await
        .map_err(|error| OpenError::from_migration(&error, &migrations))?;
    // A statement that may fail half way keeps what it changes, to undo it: in memory, not in a file that is made and deleted for
    // each. Only now, because an index that a migration makes may be sorted through files.
    sqlx::query("PRAGMA temp_store = MEMORY")
        .execute(&writer)
        .await
        .map_err(|error| OpenError::from_sqlx(&error))?;
    let carrier =
        pool(1).connect_with(connect.clone()).await.map_err(|error| OpenError::from_sqlx(&error))?;
    let readers = pool(options.readers.max(1))
        .connect_with(connect.create_if_missing(false).pragma("query_only", "on"))
        .await
        .map_err(|error| OpenError::from_sqlx(&error))?;
    Ok(Sqlite { writer, readers, carrier: Carrier::start(carrier), _lock: lock })
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
    async fn the_log_is_carried_over_beside_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.sqlite");
        let sqlite = open_sqlite(&path, &SqliteOptions::default(), Migrations(ONE)).await.unwrap();
        let size = || std::fs::metadata(&path).unwrap().len();
        let empty = size();
        // Far less than makes the writer do it.
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             INSERT INTO a SELECT i FROM n";
        sqlx::query(rows).execute(&sqlite.writer).await.unwrap();
        let carried = async {
            while size() <= empty + 100_000 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), carried)
            .await
            .expect("nobody closes the database for it");
        sqlite.close().await;
    }

    #[tokio::test]
    async fn a_file_in_use_and_a_newer_schema_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.sqlite");
        let open =
            async |migrations| open_sqlite(&path, &SqliteOptions::default(), Migrations(migrations)).await;
        let first = open(TWO).await.unwrap();
        assert!(matches!(open(TWO).await, Err(OpenError::Locked(_))));
        first.close().await;
        drop(first);
        assert!(matches!(open(ONE).await, Err(OpenError::NewerSchema { found: 2, known: 1 })));
    }
}
