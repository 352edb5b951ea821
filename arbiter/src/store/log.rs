//! What the log of commits is asked beside its commits: how large it is, and up to where it is trimmed.

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::Revision;

/// One batch of the log, without its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRow {
    /// The revision of its last commit.
    pub(crate) last: Revision,
    /// How many bytes its commits take in the store.
    pub(crate) bytes: u64,
}

/// The log of commits as it is measured and trimmed.
#[async_trait]
pub(crate) trait LogStore {
    /// At most `limit` batches in order, from the one that holds the commit after `after` on. It reads no commits.
    async fn log_rows(&self, after: Revision, limit: u32) -> Result<Vec<LogRow>, StoreError>;

    /// The oldest revision that a reader may resume after: what was committed up to it may have left the log.
    async fn log_mark(&self) -> Result<Revision, StoreError>;

    /// Writes what stands in the log alone, up to a revision, into the tables. To raise the mark does it too, but then that takes long.
    async fn carry_over(&self, up_to: Revision) -> Result<(), StoreError>;

    /// Raises that revision, which never goes back. Returns false, and changes nothing, where this process does not lead.
    async fn raise_log_mark(&self, leader_id: Uuid, mark: Revision) -> Result<bool, StoreError>;

    /// Deletes at most `limit` of the oldest batches that end at or before the stored mark. Returns how many there were.
    async fn trim_log(&self, limit: u32) -> Result<u64, StoreError>;
}
