//! Why a database could not be opened.

use sqlx::migrate::MigrateError;

use crate::Migrations;

/// Why a database could not be opened. The messages are for the person who starts the service; they never leave it
/// over the wire.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server cannot be reached, or is starting or stopping. Worth a retry.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Another process uses the database file. Worth a short wait: the process may be ending.
    #[error("the database {0} is in use by another process; stop that one, or name another file")]
    Locked(String),
    /// The database was written by a newer version of this program.
    #[error(
        "the database has schema version {found}, and this program knows versions up to {known}; run the newer program"
    )]
    NewerSchema {
        /// The version found in the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The server may lose what it acknowledged.
    #[error("the database is not durable: {0}")]
    Unsafe(String),
    /// Anything else; waiting does not mend it.
    #[error("the database cannot be opened: {0}")]
    Failed(String),
}

impl OpenError {
    /// Whether waiting may mend it: the server is not reachable now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Whether whoever starts the program has to change something: another file, a newer program, another server.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        !self.is_transient()
    }

    pub(crate) fn from_sqlx(error: &sqlx::Error) -> Self {
        if is_unreachable(error) {
            Self::Unreachable(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }

    pub(crate) fn from_migration(error: &MigrateError, migrations: &Migrations) -> Self {
        match error {
            MigrateError::VersionMissing(found) if *found > migrations.newest() => {
                Self::NewerSchema { found: *found, known: migrations.newest() }
            }
            MigrateError::Execute(error) => Self::from_sqlx(error),
            MigrateError::ExecuteMigration(error, _) if is_unreachable(error) => Self::from_sqlx(error),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// `SQLSTATE` classes that say a server is not there for us now: connection exceptions (08), too many connections (53),
/// and operator intervention such as starting up or shutting down (57P).
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("53") || code.starts_with("57P")),
        _ => false,
    }
}
