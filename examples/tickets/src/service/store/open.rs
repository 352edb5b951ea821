//! Opens the shared database, and brings its schema to where this version needs it.
//!
//! Several versions run at once, so a migration only ever adds what the version before neither reads nor writes, with a default. The
//! older version starts on the newer schema too, as it does when it is put back.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::Store;
use crate::service::build::Build;
use crate::service::config::Config;

const PAUSE: Duration = Duration::from_millis(10);

/// The steps of the schema: number, what it does, its SQL, and whether the first version has it.
const MIGRATIONS: [(i64, &str, &str, bool); 2] = [
    (1, "tickets", include_str!("../../../migrations/0001_tickets.sql"), true),
    (2, "priority", include_str!("../../../migrations/0002_priority.sql"), false),
];

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the database {path} cannot be opened: {cause}")]
pub struct OpenError {
    path: String,
    cause: String,
}

impl Store {
    /// Opens the file, makes it where it is missing, and brings its schema up to date.
    pub(in crate::service) async fn open(config: &Config) -> Result<Self, OpenError> {
        let path = config.database_file.as_path();
        let failed = |cause: &dyn std::fmt::Display| OpenError {
            path: path.display().to_string(),
            cause: cause.to_string(),
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        }
        // Instances start side by side, and neither SQLite's change to a log beside the file nor sqlx's migrations wait for each other.
        let alone = alone(path, config.database_wait()).await.map_err(|error| failed(&error))?;
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(config.database_wait());
        let writer = pool(1).connect_with(connect.clone()).await.map_err(|error| failed(&error))?;
        migrator(config.build).run(&writer).await.map_err(|error| failed(&error))?;
        drop(alone);
        let readers = pool(config.database_readers)
            .connect_with(connect.create_if_missing(false).pragma("query_only", "on"))
            .await
            .map_err(|error| failed(&error))?;
        Ok(Self { writer, readers, build: config.build })
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // A connection to a file does not go stale, so it is neither tested before use nor given up.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn migrator(build: Build) -> Migrator {
    let known = MIGRATIONS.iter().filter(|(.., first)| *first || build.knows_priority());
    let migrations = known.map(|(version, description, sql, _)| {
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // What a later version has added is none of this one's business.
    migrator.set_ignore_missing(true);
    migrator
}

/// Keeps other instances from opening the database for as long as the file is held.
async fn alone(path: &Path, wait: Duration) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".opening");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(name)?;
    let taken = async {
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    let in_use =
        || io::Error::other(format!("another instance has been opening it for {} ms", wait.as_millis()));
    tokio::time::timeout(wait, taken).await.map_err(|_| in_use())??;
    Ok(file)
}
