//! Reads one partition again, as the arbiter has it at the revision that the copy shows.

use gameshelf::digest::Digest;
use gameshelf::tokens::Token;

use crate::event::Event;
use crate::ledger;
use crate::model::Row;
use crate::source::{Begin, Ended, Source};

/// Why a partition could not be read again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    /// The stream ended before the partition was complete.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The arbiter told of something else than what it was asked for.
    #[error("the arbiter told of something else than the partition that it was asked for")]
    Other,
    /// What the arbiter told does not add up to its own digest, so that nobody knows which of them is right.
    #[error("the arbiter's rows do not add up to its digest")]
    Digest,
    /// The partition has more rows than may be held at once.
    #[error("the partition has more than {max} rows")]
    TooManyRows { max: usize },
}

/// Reads a partition as of `at`. What is returned adds up to `expected`.
pub(crate) async fn read(
    source: &mut Source,
    at: Token,
    partition: u8,
    expected: Digest,
    max: usize,
) -> Result<Vec<Row>, RepairError> {
    let mut reader = source.open(Begin::Part { as_of: at, partition }).await?;
    let mut all = Vec::new();
    loop {
        match reader.next().await? {
            Event::Chunk { revision, rows } => {
                if revision != at.revision || rows.iter().any(|row| row.partition != partition) {
                    return Err(RepairError::Other);
                }
                all.extend(rows);
                if all.len() > max {
                    return Err(RepairError::TooManyRows { max });
                }
            }
            Event::SnapshotEnd(token) if token == at => break,
            Event::Bookmark(..) => {}
            Event::SnapshotEnd(_) | Event::Commits(..) => return Err(RepairError::Other),
        }
    }
    if ledger::sum(&all) == expected { Ok(all) } else { Err(RepairError::Digest) }
}
