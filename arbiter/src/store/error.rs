//! What can go wrong with a store. Errors of the drivers are translated here, and nowhere else.

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The store cannot be reached now. Nothing was written.
    #[error("the store cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The store refused a statement. Nothing was written.
    #[error("the store refused a statement: {0}")]
    Failed(#[source] sqlx::Error),
    /// What is stored is not what this program writes.
    #[error("the store holds something that cannot be read: {0}")]
    Corrupt(String),
}

/// Why a batch was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Nothing was written.
    #[error(transparent)]
    Before(#[from] StoreError),
    /// Nothing was written: a request id or an entitlement that the batch takes for new is there already.
    #[error("something that was taken for new is there already")]
    Conflict,
    /// Nothing was written, and nothing can be: the head is not what this process left. Another one leads.
    #[error("another arbiter took the lead")]
    Fenced,
    /// Whether it was written is not known.
    #[error("the answer to COMMIT was lost: {0}")]
    Unknown(#[source] sqlx::Error),
    /// Whether it was written is not known, and this process must not go on: only recovery from the log can tell.
    #[error("COMMIT failed: {0}")]
    Fatal(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_answer(&error) { Self::Failed(error) } else { Self::Unreachable(error) }
    }
}

impl StoreError {
    /// Whether the store may answer if asked again.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Whether the store itself answered, so that the outcome of the statement is certain. Of a server's answers, class 57P
/// (operator intervention) and 08 (connection) say that it is going away, and 53 that it has no room.
pub(super) fn is_answer(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_none_or(|code| {
            !(code.starts_with("57P") || code.starts_with("08") || code.starts_with("53"))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => false,
        _ => true,
    }
}

/// Whether the store refused a row because its key is there already.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}
