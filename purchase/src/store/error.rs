//! What can go wrong with a store. Errors of the drivers are translated here, and nowhere else.

/// Why a store did not do as asked. The texts are for the log; they never leave the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The store cannot be reached, or has no room now. A write was not done.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The store did not answer. A write may or may not have been done.
    #[error("the store did not answer: {0}")]
    Unknown(String),
    /// The store refused a statement: a defect.
    #[error("the store refused a statement: {0}")]
    Failed(String),
    /// What is stored is not what this program writes.
    #[error("the store holds something that cannot be read: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            // There was no connection on which a statement could have been sent.
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Unavailable(text),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::Unknown(text),
            sqlx::Error::Database(error) => from_code(&error.code().unwrap_or_default(), text),
            _ => Self::Failed(text),
        }
    }
}

/// The codes of both stores: `SQLSTATE` of PostgreSQL has five characters, the result codes of SQLite are numbers.
fn from_code(code: &str, text: String) -> StoreError {
    // The lower byte of SQLite's code is its kind.
    let sqlite = (code.len() < 5).then(|| code.parse::<u32>().map(|code| code & 0xff).ok()).flatten();
    match (sqlite, code) {
        // Busy, locked and full: rolled back.
        (Some(5 | 6 | 13), _) => StoreError::Unavailable(text),
        // An I/O error: what reached the disk is not known.
        (Some(10), _) => StoreError::Unknown(text),
        // No room, or a conflict that rolled back.
        (None, code) if code.starts_with("53") || code.starts_with("40") => StoreError::Unavailable(text),
        // The server is going away, and perhaps after it had committed.
        (None, code) if code.starts_with("08") || code.starts_with("57P") => StoreError::Unknown(text),
        _ => StoreError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_stores_are_told_apart() {
        let kind = |code| from_code(code, String::new());
        assert!(matches!(kind("13"), StoreError::Unavailable(_)));
        assert!(matches!(kind("5"), StoreError::Unavailable(_)));
        assert!(matches!(kind("1034"), StoreError::Unknown(_)), "an extended code: I/O error at fsync");
        assert!(matches!(kind("1"), StoreError::Failed(_)));
        assert!(matches!(kind("53300"), StoreError::Unavailable(_)));
        assert!(matches!(kind("40001"), StoreError::Unavailable(_)));
        assert!(matches!(kind("57P01"), StoreError::Unknown(_)));
        assert!(matches!(kind("23514"), StoreError::Failed(_)));
    }
}
