//! All SQL of the tickets. Every version works on the same file, each by the columns that it knows.

mod open;
mod replies;
mod tickets;

use sqlx::SqlitePool;

pub(super) use open::OpenError;

use super::build::Build;

/// The database could not be read or written. The cause is for the log, never for the wire.
#[derive(Debug, thiserror::Error)]
#[error("the tickets cannot be read or written: {0}")]
pub(super) struct StoreError(String);

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl StoreError {
    fn column(name: &str) -> Self {
        Self(format!("the column {name} holds what this program never writes"))
    }
}

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The request id belongs to another request.
    #[error("the request id was used for another request")]
    Reused,
    /// There is no such ticket.
    #[error("there is no such ticket")]
    TicketUnknown,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) title: String,
    /// None where this version does not know it.
    pub(super) priority: Option<u32>,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) position: u64,
    pub(super) ticket_id: u64,
    pub(super) author: String,
    pub(super) text: String,
}

/// What there is after a write.
#[derive(Clone, Debug)]
pub(super) struct Written<T> {
    pub(super) what: T,
    /// Whether an earlier request of the same id has done it.
    pub(super) replayed: bool,
}

/// The shared database, as one instance has it open.
#[derive(Debug)]
pub(super) struct Store {
    /// One connection: the writers of this instance queue here, those of others by the lock of the file.
    writer: SqlitePool,
    readers: SqlitePool,
    build: Build,
}

impl Store {
    /// Closes every connection.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A number that the database keeps as a signed one.
fn unsigned(number: i64, column: &str) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::column(column))
}

/// A number of a request as the database keeps it; one beyond belongs to nothing.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
