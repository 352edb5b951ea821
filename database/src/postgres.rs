//! Opens a database on a PostgreSQL server.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};

use crate::{Migrations, OpenError, Url};

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

/// A setting of a server with which it may lose what it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is off, so {consequence}")]
struct UnsafeSetting {
    /// Its name, as the server knows it.
    name: &'static str,
    consequence: &'static str,
}

/// Why a database may lose what it acknowledged, for whoever operates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsafe {
    /// What is the matter, as a sentence.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

impl Unsafe {
    /// What all of it is called, for programs.
    pub const REASON: &str = "STORE_UNSAFE";
}

impl From<&UnsafeSetting> for Unsafe {
    fn from(setting: &UnsafeSetting) -> Self {
        Self {
            message: format!("the store may lose what it acknowledged: {setting}"),
            advice: format!("turn {} on at the server, and take --database-allow-unsafe away", setting.name),
        }
    }
}

/// What has to be on.
const DURABLE: [UnsafeSetting; 3] = [
    UnsafeSetting { name: "fsync", consequence: "acknowledged writes may be lost" },
    UnsafeSetting { name: "synchronous_commit", consequence: "acknowledged writes may be lost" },
    UnsafeSetting { name: "full_page_writes", consequence: "a crash may leave pages that are half written" },
];

/// Connects to a server and brings the schema up to date.
///
/// # Errors
///
/// [`OpenError::Unreachable`] when the server is not there now, [`OpenError::Unsafe`] when it runs with `fsync`,
/// `synchronous_commit` or `full_page_writes` off, [`OpenError::NewerSchema`], or [`OpenError::Failed`].
pub async fn open_postgres(
    connect: &PgConnectOptions,
    options: &PostgresOptions,
    migrations: Migrations,
) -> Result<PgPool, OpenError> {
    let timeout = Duration::from_millis(options.connect_timeout_ms);
    // A transaction that is left open by a client that is gone holds locks; the server ends it after this time.
    let connect = connect.clone().options([("idle_in_transaction_session_timeout", "10s")]);
    let connection = connection(&connect, timeout).await?;
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
    match found_off(connection).await?.first() {
        Some(setting) => Err(OpenError::Unsafe(format!("{setting}; turn it on, or allow it by name"))),
        None => Ok(()),
    }
}

/// What is unsafe about a database that was opened all the same, because that was allowed by name, and what to do about it. Nothing is
/// where it was not allowed: the database would not be open. An embedded one is always opened so that it is durable. A server that does not
/// say is unsafe for all that is known.
pub async fn unsafe_settings(url: &Url, options: &PostgresOptions) -> Vec<Unsafe> {
    let Url::Postgres(connect) = url else { return Vec::new() };
    if !options.allow_unsafe {
        return Vec::new();
    }
    match ask_for_unsafe(connect, options).await {
        Ok(found) => found.iter().map(Unsafe::from).collect(),
        Err(error) => {
            tracing::warn!(%error, "the store could not be asked whether it is durable");
            vec![Unsafe {
                message: "whether the store is durable is not known, and one that is not was allowed"
                    .to_owned(),
                advice: "take --database-allow-unsafe away: a store that is not durable is refused then"
                    .to_owned(),
            }]
        }
    }
}

async fn ask_for_unsafe(
    connect: &PgConnectOptions,
    options: &PostgresOptions,
) -> Result<Vec<UnsafeSetting>, OpenError> {
    let mut connection = connection(connect, Duration::from_millis(options.connect_timeout_ms)).await?;
    let found = found_off(&mut connection).await;
    // The connection has done its work; an error on closing it changes nothing.
    let _ = connection.close().await;
    found
}

async fn connection(connect: &PgConnectOptions, timeout: Duration) -> Result<PgConnection, OpenError> {
    tokio::time::timeout(timeout, connect.connect())
        .await
        .map_err(|_| OpenError::Unreachable("the connection timed out".to_owned()))?
        .map_err(|error| OpenError::from_sqlx(&error))
}

async fn found_off(connection: &mut PgConnection) -> Result<Vec<UnsafeSetting>, OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(&error);
    let mut found = Vec::new();
    for setting in DURABLE {
        let row = sqlx::query("SELECT current_setting($1)").bind(setting.name).fetch_one(&mut *connection);
        let value: String = row.await.map_err(failed)?.try_get(0).map_err(failed)?;
        if value == "off" {
            found.push(setting);
        }
    }
    Ok(found)
}
