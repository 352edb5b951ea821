//! All SQL of the arbiter. The seam is [`Store`]; two stores stand behind it, and one suite of tests runs against both.

mod error;
#[cfg(test)]
pub(crate) mod faulty;
mod log;
mod open;
mod postgres;
mod record;
mod rows;
mod sql;
mod sqlite;
#[cfg(test)]
mod suite;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gameshelf::ids::CopyName;
use uuid::Uuid;

use crate::domain::{
    Commit, CustomerId, Effects, Entitlement, GameId, Key, Outcome, Ownership, RequestId, Reservation,
    ReservationId, Revision, Stock, Subject, Sums,
};

pub(crate) use error::{CommitError, StoreError};
pub(crate) use log::{LogRow, LogStore};
pub(crate) use open::{StoreOptions, open};

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

/// What ends by itself, and its time is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Ownerships, by customer and game.
    pub(crate) ownerships: Vec<Key>,
    /// Reservations.
    pub(crate) reservations: Vec<ReservationId>,
}

/// Where a page of a customer's history begins: after the ownership of this game that began at this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryPlace {
    pub(crate) began: Revision,
    pub(crate) game_id: GameId,
}

/// Everything that one transaction writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What becomes of the entitlements.
    pub(crate) effects: Effects,
    /// The outcomes, refusals included.
    pub(crate) requests: Vec<Arc<StoredRequest>>,
    /// The commits, in the order of their revisions, the first being the head's next one.
    pub(crate) commits: Vec<Commit>,
    /// What everything adds up to after the batch, where that is to be kept.
    pub(crate) checkpoint: Option<Sums>,
    /// How long its COMMIT may take before its outcome is called unknown, where that is less than the store allows for. Only a
    /// store on a server gives up.
    pub(crate) patience: Option<Duration>,
}

/// A copy as it told of itself last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyRow {
    pub(crate) name: CopyName,
    pub(crate) version: String,
    pub(crate) revision: Revision,
    pub(crate) digest_state: i32,
    pub(crate) repaired_partitions: u64,
    pub(crate) last_seen_ms: u64,
}

/// The lease as it stands in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    /// Who holds it; none where the last leader ended in order, or there never was one.
    pub(crate) leader_id: Option<Uuid>,
    /// How long it lasts after a renewal.
    pub(crate) duration_ms: u64,
    /// Tells one renewal from the next.
    pub(crate) renewals: u64,
}

/// The lease of a store that several processes can reach.
#[async_trait]
pub(crate) trait LeaseStore: fmt::Debug + Send + Sync {
    /// The lease as it stands.
    async fn lease(&self) -> Result<LeaseRow, StoreError>;

    /// Takes the lease and the lead, if the lease is still what was seen: commits a new epoch, so that whoever led before
    /// can commit nothing more. Returns none where the lease changed since.
    async fn take(
        &self,
        leader_id: Uuid,
        seen: &LeaseRow,
        duration_ms: u64,
    ) -> Result<Option<Head>, StoreError>;

    /// Renews the lease. Returns whether this process still held it.
    async fn renew(&self, leader_id: Uuid) -> Result<bool, StoreError>;

    /// Gives the lease back, so that the next leader need not wait it out. Nothing may be committed after it.
    async fn release(&self, leader_id: Uuid) -> Result<(), StoreError>;
}

/// Where the customer-owned-games data is kept.
///
/// Reads name the revision whose state they show, so that they need no transaction longer than a statement. A call that
/// is cancelled leaves the store as it was, except [`Store::commit`], which must not be cancelled.
#[async_trait]
pub(crate) trait Store: LogStore + fmt::Debug + Send + Sync {
    /// The lease by which processes agree who leads; none where the store lets only one process in.
    fn leases(&self) -> Option<&dyn LeaseStore>;

    /// Takes the lead for the process `leader_id`: commits a new epoch, so that whoever led before can commit nothing more,
    /// and returns the head as it is then. Without `take_over` it only succeeds where this process led last, and
    /// returns none where another one took over since.
    ///
    /// It also settles a COMMIT whose answer was lost: it waits for that transaction's end either way.
    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError>;

    /// Begins a new incarnation where `restored` says that this is not the store that was there before, or where that is not proven, for
    /// the process that leads. Returns the head as it is then; none where another process took the lead.
    ///
    /// A new incarnation is at least `now_ms`, milliseconds since 1970: one backup may be restored twice, and what was written between
    /// must not be taken for what is written afterwards.
    async fn settle_incarnation(
        &self,
        leader_id: Uuid,
        restored: bool,
        now_ms: u64,
    ) -> Result<Option<Head>, StoreError>;

    /// The stocks of all limited editions.
    async fn stocks(&self) -> Result<Vec<Stock>, StoreError>;

    /// Loads what a batch needs: the outcomes of these requests, and the present entitlements of these keys.
    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError>;

    /// These reservations, and the open ones of these customers; one may stand there twice.
    async fn reservations(
        &self,
        reservations: &[ReservationId],
        customers: &[CustomerId],
    ) -> Result<Vec<Reservation>, StoreError>;

    /// The revision at which something changed last; 0 when it never did.
    async fn last_change(&self, subject: &Subject) -> Result<Revision, StoreError>;

    /// When the next thing ends by itself, in milliseconds since 1970.
    async fn next_due_ms(&self) -> Result<Option<u64>, StoreError>;

    /// At most `limit` ownerships and as many reservations whose time is over by `until_ms`, the oldest first.
    async fn due(&self, until_ms: u64, limit: u32) -> Result<Due, StoreError>;

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

    /// At most `limit` ownerships of a customer, or of one game of it, as they were known at a revision, ordered by the revision at
    /// which they began and by game, those after `after`.
    async fn history(
        &self,
        at: Revision,
        subject: &Subject,
        after: Option<&HistoryPlace>,
        limit: u32,
    ) -> Result<Vec<Ownership>, StoreError>;

    /// The ownership that counted at a revision: the one that lasted then, otherwise the last one that had ended.
    async fn explain(&self, at: Revision, key: &Key) -> Result<Option<Ownership>, StoreError>;

    /// At most `limit` entitlements of all customers at a revision, ordered by customer and game, those after `after`.
    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError>;

    /// Commits in order, from the one after `after` on, at most those of `limit_batches` batches. Empty when there is none.
    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError>;

    /// What everything added up to when a batch kept that last.
    async fn digest_checkpoint(&self) -> Result<Option<Sums>, StoreError>;

    /// At most `limit` copies, those that were seen last.
    async fn copies(&self, limit: u32) -> Result<Vec<CopyRow>, StoreError>;

    /// Remembers copies as they are now, and forgets those that were not seen since a time. Changes nothing where this process does
    /// not lead.
    async fn put_copies(
        &self,
        leader_id: Uuid,
        copies: &[CopyRow],
        forget_before_ms: u64,
    ) -> Result<(), StoreError>;

    /// The time before which request ids may have been forgotten, in milliseconds since 1970.
    async fn trim_mark_ms(&self) -> Result<u64, StoreError>;

    /// Raises that time, which never goes back. Returns false, and changes nothing, where this process does not lead: whoever
    /// leads may still take the ids that it would forget.
    async fn raise_trim_mark(&self, leader_id: Uuid, mark_ms: u64) -> Result<bool, StoreError>;

    /// Forgets at most `limit` reservations that were closed before a time, and returns how many there were.
    async fn trim_reservations(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError>;

    /// Looks through at most `limit` request ids after `after` and forgets the outcomes decided before `before_ms` of
    /// those that are not version 7 with a time at or after it, and name no reservation. Returns how far it came; none where it
    /// found fewer, which is at the end.
    async fn trim(
        &self,
        after: Option<RequestId>,
        before_ms: u64,
        limit: u32,
    ) -> Result<Option<RequestId>, StoreError>;

    /// Closes every connection.
    async fn close(&self);
}
