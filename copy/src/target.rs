//! Where the rows of a copy go.

use std::error::Error;
use std::future::Future;

use gameshelf::tokens::Token;

use crate::model::{Batch, Row};

/// Keeps the rows of a copy, and what they show: the checkpoint. One task writes; others may read meanwhile.
///
/// Each call that changes rows is one transaction: when it fails nothing of it may be seen, then or after a restart.
pub trait Target: Send + Sync + 'static {
    /// Why rows could not be read or written. Its text goes to the log only.
    type Error: Error + Send + Sync + 'static;

    /// What the rows show; none before the first snapshot was complete.
    fn checkpoint(&self) -> impl Future<Output = Result<Option<Token>, Self::Error>> + Send;

    /// Begins a snapshot: what was staged before is forgotten. The rows that are served stay as they are.
    fn begin(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Adds rows to the snapshot. They are not seen yet, and need not last.
    fn stage(&self, rows: Vec<Row>) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts the snapshot in the place of the rows, with its checkpoint.
    fn swap(&self, checkpoint: Token) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Applies commits with their checkpoint, to rows that show `batch.from`. Returns the rows as they were before, of those
    /// customers and games in `batch.net` that had one.
    fn apply(&self, batch: &Batch<'_>) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send;

    /// All rows of one partition of customers: read from where they last, so that damage is found.
    fn rows(&self, partition: u8) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send;

    /// Puts rows in the place of those of one partition of customers, which must show `checkpoint`, and goes on showing it.
    fn replace(
        &self,
        partition: u8,
        checkpoint: Token,
        rows: Vec<Row>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Clears some of what snapshots left behind. Says whether there may be more; it is called again then.
    fn sweep(&self) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        async { Ok(false) }
    }
}
