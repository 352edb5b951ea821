//! Opens a database on a PostgreSQL server.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};

use crate::{Migrations, OpenError};

/// How a database on a server is opened.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// How many connections the pool may have. At least 1.
    pub pool_size: u32,
    /// How long to wait for a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Whether a server that may lose what it acknowledged is used all the same.
    pub allow_unsafe: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { pool_size: 8, connect_timeout_ms: 5_000, allow_unsafe: false }
    }
}

/// Connects to a server and brings the schema up to date.
///
/// # Errors
///
/// [`OpenError::Unreachable`] when the server is not there now, [`OpenError::Unsafe`] when it runs with `fsync` or
/// `synchronous_commit` off, [`OpenError::NewerSchema`], or [`OpenError::Failed`].
pub async fn open_postgres(
    connect: &PgConnectOptions,
    options: &PostgresOptions,
    migrations: Migrations,
) -> Result<PgPool, OpenError> {
    let timeout = Duration::from_millis(options.connect_timeout_ms);
    // A transaction that is left open by a client that is gone holds locks; the server ends it after this time.
    let connect = connect.clone().options([("idle_in_transaction_session_timeout", "10s")]);
    let connection = tokio::time::timeout(timeout, connect.connect())
        .await
        .map_err(|_| OpenError::Unreachable("the connection timed out".to_owned()))?
        .map_err(|error| OpenError::from_sqlx(&error))?;
    prepare(connection, options, migrations).await?;
    let pool = PgPoolOptions::new()
        .max_connections(options.pool_size.max(1))
        .acquire_timeout(timeout)
        // A stale connection shows itself by an error, which is retried; a ping before each use would cost every call.
        .test_before_acquire(false);
    pool.connect_with(connect).await.map_err(|error| OpenError::from_sqlx(&error))
}

/// Checks the server and migrates over a connection of its own: closing that lets the lock on migrations go in every case.
async fn prepare(
    mut connection: PgConnection,
    options: &PostgresOptions,
    migrations: Migrations,
) -> Result<(), OpenError> {
    if !options.allow_unsafe {
        refuse_unsafe(&mut connection).await?;
    }
    let migrated = migrations.migrator().run_direct(None, &mut connection, false).await;
    // The connection has done its work; an error on closing it changes nothing.
    let _ = connection.close().await;
    migrated.map_err(|error| OpenError::from_migration(&error, &migrations))
}

async fn refuse_unsafe(connection: &mut PgConnection) -> Result<(), OpenError> {
    let row = sqlx::query("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        .fetch_one(connection)
        .await
        .map_err(|error| OpenError::from_sqlx(&error))?;
    for (index, name) in ["fsync", "synchronous_commit"].into_iter().enumerate() {
        let value: String = row.try_get(index).map_err(|error| OpenError::from_sqlx(&error))?;
        if value == "off" {
            return Err(OpenError::Unsafe(format!(
                "{name} is off, so acknowledged writes may be lost; turn it on, or allow it by name"
            )));
        }
    }
    Ok(())
}
