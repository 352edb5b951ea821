//! A store for tests that goes wrong when it is told to.

mod fault;
mod gate;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use uuid::Uuid;

pub(crate) use fault::{DRIVER_SECRET, Fault, ReadFault};
use gate::Gate;

use super::{
    Batch, CommitError, CopyRow, Due, Head, HistoryPlace, LeaseStore, Loaded, LogRow, LogStore, SharedStore,
    Store, StoreError,
};
use crate::domain::{
    Commit, CustomerId, Entitlement, GameId, Key, Ownership, Reason, RequestId, Reservation, ReservationId,
    Revision, Stock, Subject, Sums,
};

/// Wraps a store. Commits take their faults from a queue; those after the last fault go well.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: SharedStore,
    faults: Mutex<VecDeque<Fault>>,
    read_fault: Mutex<Option<ReadFault>>,
    unreachable: AtomicBool,
    refuses_own: AtomicBool,
    calls: AtomicUsize,
    commits: AtomicUsize,
    trims: AtomicUsize,
    commits_begin: Gate,
    commits_are_answered: Gate,
    reads_are_answered: Gate,
    trims_begin: Gate,
    marks_begin: Gate,
    leads_begin: Gate,
}

impl FaultyStore {
    pub(crate) fn new(inner: SharedStore, faults: &[Fault]) -> Self {
        Self {
            inner,
            faults: Mutex::new(faults.iter().copied().collect()),
            read_fault: Mutex::new(None),
            unreachable: AtomicBool::new(false),
            refuses_own: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            trims: AtomicUsize::new(0),
            commits_begin: Gate::open(),
            commits_are_answered: Gate::open(),
            reads_are_answered: Gate::open(),
            trims_begin: Gate::open(),
            marks_begin: Gate::open(),
            leads_begin: Gate::open(),
        }
    }

    /// Lets the store answer reads, and nobody hear of it until [`FaultyStore::release_read`].
    pub(crate) fn hold_reads(&self) {
        self.reads_are_answered.hold();
    }

    /// Lets one answer to a read go on.
    pub(crate) fn release_read(&self) {
        self.reads_are_answered.release();
    }

    /// Waits until one more answer to a read is held.
    pub(crate) async fn read_is_held(&self) {
        self.reads_are_answered.is_held().await;
    }

    /// Lets every read go wrong, or none any more.
    pub(crate) fn set_read_fault(&self, fault: Option<ReadFault>) {
        *self.read_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// What the store answered to a read, when that may go on.
    async fn answered<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.reads_are_answered.pass().await;
        let fault = *self.read_fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.map_or(answer, |fault| Err(fault.error()))
    }

    /// Lets commits be applied, and nobody hear of it until [`FaultyStore::release_answer`].
    pub(crate) fn hold_answers(&self) {
        self.commits_are_answered.hold();
    }

    /// Lets the answer to one commit go on.
    pub(crate) fn release_answer(&self) {
        self.commits_are_answered.release();
    }

    /// Waits until one more commit is applied, and its answer held.
    pub(crate) async fn answer_is_held(&self) {
        self.commits_are_answered.is_held().await;
    }

    /// Commits, and answers when that may go on.
    async fn apply(&self, head: &Head, batch: &Batch) -> Result<(), CommitError> {
        let committed = self.inner().commit(head, batch).await;
        self.commits_are_answered.pass().await;
        committed
    }

    /// Lets nothing be forgotten until [`FaultyStore::release_trims`].
    pub(crate) fn hold_trims(&self) {
        self.trims_begin.hold();
    }

    /// Lets a few things be forgotten, once.
    pub(crate) fn release_trim(&self) {
        self.trims_begin.release();
    }

    /// Waits until a few things more are to be forgotten, and held.
    pub(crate) async fn trim_is_held(&self) {
        self.trims_begin.is_held().await;
    }

    /// Lets things be forgotten again.
    pub(crate) fn release_trims(&self) {
        self.trims_begin.release_all();
    }

    /// Lets nobody lead until [`FaultyStore::release_leads`].
    pub(crate) fn hold_leads(&self) {
        self.leads_begin.hold();
    }

    /// Lets those lead who wait for it.
    pub(crate) fn release_leads(&self) {
        self.leads_begin.release_all();
    }

    /// Lets neither rows be carried over nor the log's mark be raised until each is released.
    pub(crate) fn hold_log_mark(&self) {
        self.marks_begin.hold();
    }

    /// Lets one of them go on.
    pub(crate) fn release_log_mark(&self) {
        self.marks_begin.release();
    }

    /// Waits until one more of them is held.
    pub(crate) async fn log_mark_is_held(&self) {
        self.marks_begin.is_held().await;
    }

    /// How often something was to be forgotten.
    pub(crate) fn trims(&self) -> usize {
        self.trims.load(Ordering::SeqCst)
    }

    /// The wrapped store, which is asked something for a read or a write. What is forgotten beside them does not count.
    fn inner(&self) -> &SharedStore {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }

    /// How often the wrapped store was asked something for a read or a write.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Lets one more commit go wrong, after those that are to go wrong already.
    pub(crate) fn push_fault(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Refuses every commit in which the arbiter ends something by itself, or no longer.
    pub(crate) fn set_refuses_own(&self, refuses_own: bool) {
        self.refuses_own.store(refuses_own, Ordering::SeqCst);
    }

    /// Lets every commit fail before it begins, or no longer.
    pub(crate) fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Ordering::SeqCst);
    }

    /// Lets no commit begin until [`FaultyStore::release_commit`].
    pub(crate) fn hold_commits(&self) {
        self.commits_begin.hold();
    }

    /// Lets one commit go on.
    pub(crate) fn release_commit(&self) {
        self.commits_begin.release();
    }

    /// Waits until one more commit is held.
    pub(crate) async fn commit_is_held(&self) {
        self.commits_begin.is_held().await;
    }

    /// How many commits were asked for.
    pub(crate) fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }
}

fn reset() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())
}

#[async_trait]
impl LogStore for FaultyStore {
    async fn log_rows(&self, after: Revision, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        self.inner.log_rows(after, limit).await
    }

    async fn log_mark(&self) -> Result<Revision, StoreError> {
        self.inner.log_mark().await
    }

    async fn carry_over(&self, up_to: Revision) -> Result<(), StoreError> {
        self.marks_begin.pass().await;
        self.inner.carry_over(up_to).await
    }

    async fn raise_log_mark(&self, leader_id: Uuid, mark: Revision) -> Result<bool, StoreError> {
        self.marks_begin.pass().await;
        self.inner.raise_log_mark(leader_id, mark).await
    }

    async fn trim_log(&self, limit: u32) -> Result<u64, StoreError> {
        self.inner.trim_log(limit).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.inner.leases()
    }

    async fn lead(&self, leader_id: Uuid, take_over: bool) -> Result<Option<Head>, StoreError> {
        self.leads_begin.pass().await;
        self.inner().lead(leader_id, take_over).await
    }

    async fn settle_incarnation(
        &self,
        leader_id: Uuid,
        restored: bool,
        now_ms: u64,
    ) -> Result<Option<Head>, StoreError> {
        self.inner.settle_incarnation(leader_id, restored, now_ms).await
    }

    async fn stocks(&self) -> Result<Vec<Stock>, StoreError> {
        self.inner().stocks().await
    }

    async fn reservations(
        &self,
        reservations: &[ReservationId],
        customers: &[CustomerId],
    ) -> Result<Vec<Reservation>, StoreError> {
        self.answered(self.inner().reservations(reservations, customers).await).await
    }

    async fn last_change(&self, subject: &Subject) -> Result<Revision, StoreError> {
        self.inner().last_change(subject).await
    }

    async fn next_due_ms(&self) -> Result<Option<u64>, StoreError> {
        self.inner().next_due_ms().await
    }

    async fn due(&self, until_ms: u64, limit: u32) -> Result<Due, StoreError> {
        self.inner().due(until_ms, limit).await
    }

    async fn history(
        &self,
        at: Revision,
        subject: &Subject,
        after: Option<&HistoryPlace>,
        limit: u32,
    ) -> Result<Vec<Ownership>, StoreError> {
        self.answered(self.inner().history(at, subject, after, limit).await).await
    }

    async fn explain(&self, at: Revision, key: &Key) -> Result<Option<Ownership>, StoreError> {
        self.answered(self.inner().explain(at, key).await).await
    }

    async fn digest_checkpoint(&self) -> Result<Option<Sums>, StoreError> {
        self.inner.digest_checkpoint().await
    }

    async fn copies(&self, limit: u32) -> Result<Vec<CopyRow>, StoreError> {
        self.inner.copies(limit).await
    }

    async fn put_copies(
        &self,
        leader_id: Uuid,
        copies: &[CopyRow],
        forget_before_ms: u64,
    ) -> Result<(), StoreError> {
        self.inner.put_copies(leader_id, copies, forget_before_ms).await
    }

    async fn trim_mark_ms(&self) -> Result<u64, StoreError> {
        self.inner.trim_mark_ms().await
    }

    async fn raise_trim_mark(&self, leader_id: Uuid, mark_ms: u64) -> Result<bool, StoreError> {
        self.inner.raise_trim_mark(leader_id, mark_ms).await
    }

    async fn trim_reservations(&self, before_ms: u64, limit: u32) -> Result<u64, StoreError> {
        self.inner.trim_reservations(before_ms, limit).await
    }

    async fn trim(
        &self,
        after: Option<RequestId>,
        before_ms: u64,
        limit: u32,
    ) -> Result<Option<RequestId>, StoreError> {
        self.trims.fetch_add(1, Ordering::SeqCst);
        self.trims_begin.pass().await;
        self.inner.trim(after, before_ms, limit).await
    }

    async fn load(&self, requests: &[RequestId], keys: &[Key]) -> Result<Loaded, StoreError> {
        self.inner().load(requests, keys).await
    }

    async fn commit(&self, head: &Head, batch: &Batch) -> Result<(), CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.commits_begin.pass().await;
        if self.unreachable.load(Ordering::SeqCst) {
            return Err(CommitError::Before(StoreError::Unreachable(reset())));
        }
        let is_own = |commit: &Commit| commit.cause.reason == Reason::Expiry;
        if self.refuses_own.load(Ordering::SeqCst) && batch.commits.iter().any(is_own) {
            return Err(CommitError::Before(StoreError::Failed(sqlx::Error::RowNotFound)));
        }
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match fault {
            Some(Fault::LostAfter) => {
                self.apply(head, batch).await?;
                Err(CommitError::Unknown(reset()))
            }
            Some(Fault::Fatal) => {
                self.apply(head, batch).await?;
                Err(CommitError::Fatal(sqlx::Error::Io(std::io::Error::other(DRIVER_SECRET))))
            }
            Some(Fault::LostBefore) => Err(CommitError::Unknown(reset())),
            Some(Fault::RefusedTogether) if batch.requests.len() > 1 => {
                Err(CommitError::Before(StoreError::Failed(sqlx::Error::RowNotFound)))
            }
            Some(Fault::ConflictTogether) if batch.requests.len() > 1 => Err(CommitError::Conflict),
            _ => self.apply(head, batch).await,
        }
    }

    async fn check(&self, at: Revision, keys: &[Key]) -> Result<Vec<Entitlement>, StoreError> {
        self.answered(self.inner().check(at, keys).await).await
    }

    async fn list(
        &self,
        at: Revision,
        customer_id: &CustomerId,
        after: Option<&GameId>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError> {
        self.answered(self.inner().list(at, customer_id, after, limit).await).await
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Entitlement>, StoreError> {
        self.inner().snapshot(at, after, limit).await
    }

    async fn log(&self, after: Revision, limit_batches: u32) -> Result<Vec<Commit>, StoreError> {
        self.inner().log(after, limit_batches).await
    }

    async fn close(&self) {
        self.inner().close().await;
    }
}
