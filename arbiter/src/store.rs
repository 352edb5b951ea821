//! All SQL of the arbiter. The seam is [`Store`]; two stores stand behind it, and one suite of tests runs against both.

mod error;
#[cfg(test)]
pub(crate) mod faulty;
mod open;
mod postgres;
mod record;
mod sql;
mod sqlite;
#[cfg(test)]
mod suite;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::{Commit, CustomerId, Effects, Entitlement, GameId, Key, Outcome, RequestId, Revision};

pub(crate) use error::{CommitError, StoreError};
pub(crate) use open::open;

/// A store that is open.
pub(crate) type SharedStore = Arc<dyn Store>;

/// The one row that every transaction begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Names the store, for ever.
    pub(crate) store_id: Uuid,
    /// Grows when the store is restored or its continuity is not proven.
    pub(crate) incarnation: u64,
    /// Grows with each process that takes the lead, and with each outcome that had to be settled.
    pub(crate) epoch: u64,
    /// The newest committed revision.
    pub(crate) revision: Revision,
}

/// An outcome as it is kept under its request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRequest {
    pub(crate) request_id: RequestId,
    /// What tells other content under the same id apart.
    pub(crate) content_hash: [u8; 32],
    pub(crate) outcome: Outcome,
    pub(crate) decided_at_ms: u64,
}

/// What a batch needs to know before it can be decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The requests that were decided before.
    pub(crate) requests: Vec<StoredRequest>,
    /// The present entitlements of the keys.
    pub(crate) entitlements: Vec<Entitlement>,
}

/// Everything that one transaction writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What becomes of the entitlements.
    pub(crate) effects: Effects,
    /// The outcomes, refusals included.
    pub(crate) requests: Vec<StoredRequest>,
    /// The commits, in the order of their revisions, the first being the head's next one.
    pub(crate) commits: Vec<Commit>,
}

/// Where the customer-owned-games data is kept.
///
/// Reads name the revision whose state they show, so that they need no transaction longer than a statement. A call that
/// is cancelled leaves the store as it was, except [`Store::commit`], which must not be cancelled.
#[async_trait]
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Takes the lead for the process `leader_id`: commits a new epoch, so that whoever led before can commit nothing more,
    /// and returns the head as it is then. Without `take_over` it only succeeds where this process led last, and
    /// returns none where another one took over since.
    ///
    /// It also settles a COMMIT whose answer was lost: it waits for that transaction's end either way.
    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError>;

    /// Loads what a batch needs: the outcomes of these requests, and the present entitlements of these keys.
    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError>;

    /// Writes a batch in one transaction that begins with the compare-and-set of `head`.
    ///
    /// Returns after COMMIT reached the disk.
    async fn commit(&self, head: &Head, batch: &Batch) -> Result<(), CommitError>;

    /// The entitlements of these keys at a revision.
    async fn check(&self, at: Revision, keys: &[Key]) -> Result<Vec<Entitlement>, StoreError>;

    /// At most `limit` entitlements of a customer at a revision, ordered by game, those after `after`.
    async fn list(
        &self,
        at: Revision,
        customer_id: &CustomerId,
        after: Option<&GameId>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError>;

    /// At most `limit` entitlements of all customers at a revision, ordered by customer and game, those after `after`.
    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError>;

    /// Commits in order, from the one after `after` on, at most those of `limit_batches` batches. Empty when there is none.
    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError>;

    /// Closes every connection.
    async fn close(&self);
}
