//! What can be set about opening a database, the same for every service.

use clap::value_parser;

use crate::{PostgresOptions, RetryOptions, SqliteOptions};

/// How a database is opened.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// Time to wait for a database file that another process uses, which is perhaps ending
    #[arg(long = "database-lock-wait-ms", value_name = "MS", env = "GAMESHELF_DATABASE_LOCK_WAIT_MS")]
    #[arg(id = "database_lock_wait_ms", default_value_t = 0, value_parser = value_parser!(u64).range(0..=600_000))]
    pub lock_wait_ms: u64,

    /// Pause between two attempts to reach a database server
    #[arg(long = "database-retry-pause-ms", value_name = "MS", env = "GAMESHELF_DATABASE_RETRY_PAUSE_MS")]
    #[arg(id = "database_retry_pause_ms", default_value_t = 500, value_parser = value_parser!(u64).range(1..=60_000))]
    pub retry_pause_ms: u64,

    /// Time for a connection to a database server to be made
    #[arg(
        long = "database-connect-timeout-ms",
        value_name = "MS",
        env = "GAMESHELF_DATABASE_CONNECT_TIMEOUT_MS"
    )]
    #[arg(id = "database_connect_timeout_ms", default_value_t = 5_000, value_parser = value_parser!(u64).range(1..=600_000))]
    pub connect_timeout_ms: u64,

    /// Connections to the database that read
    #[arg(long = "database-readers", value_name = "COUNT", env = "GAMESHELF_DATABASE_READERS")]
    #[arg(id = "database_readers", default_value_t = 4, value_parser = value_parser!(u32).range(1..=1024))]
    pub readers: u32,

    /// Use a PostgreSQL server that may lose what it acknowledged (`fsync`, `synchronous_commit` or `full_page_writes` off)
    #[arg(
        long = "database-allow-unsafe",
        env = "GAMESHELF_DATABASE_ALLOW_UNSAFE",
        id = "database_allow_unsafe"
    )]
    pub allow_unsafe: bool,
}

impl DatabaseConfig {
    /// The part about an embedded database.
    #[must_use]
    pub fn sqlite(&self) -> SqliteOptions {
        SqliteOptions { readers: self.readers, ..SqliteOptions::default() }
    }

    /// The part about a database on a server: the connections that read, and one that writes.
    #[must_use]
    pub fn postgres(&self) -> PostgresOptions {
        PostgresOptions {
            pool_size: self.readers.saturating_add(1),
            connect_timeout_ms: self.connect_timeout_ms,
            allow_unsafe: self.allow_unsafe,
        }
    }

    /// The part about waiting.
    #[must_use]
    pub fn retry(&self) -> RetryOptions {
        RetryOptions { pause_ms: self.retry_pause_ms, locked_wait_ms: self.lock_wait_ms }
    }
}
