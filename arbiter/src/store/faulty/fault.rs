//! What can go wrong.

use crate::store::StoreError;

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is applied, but its answer is lost.
    LostAfter,
    /// It is not applied, and its answer is lost.
    LostBefore,
    /// It is refused when it has more than one request.
    RefusedTogether,
    /// It is called a conflict when it has more than one request.
    ConflictTogether,
    /// It is applied, and called a failure after which only a new start can tell.
    Fatal,
}

/// What goes wrong with every read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFault {
    /// The store cannot be reached.
    Unreachable,
    /// The store refuses the statement.
    Refused,
}

/// What a driver says of a store that fails, and nobody outside is to hear.
pub(crate) const DRIVER_SECRET: &str = "/var/lib/gameshelf/secret";

impl ReadFault {
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::Unreachable => {
                StoreError::Unreachable(sqlx::Error::Io(std::io::Error::other(DRIVER_SECRET)))
            }
            Self::Refused => StoreError::Failed(sqlx::Error::ColumnNotFound(DRIVER_SECRET.to_owned())),
        }
    }
}
