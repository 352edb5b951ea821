//! Trims the log by age and by size, beside the writer and without making it wait: a few rows at a time, with a pause between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Clock;
use tokio::time::sleep;
use uuid::Uuid;

use super::Watches;
use super::metrics::TrimMetrics;
use crate::domain::Revision;
use crate::store::{LogRow, SharedStore, StoreError};

/// How many batches are measured in one statement; their commits are not read.
const MEASURED: u32 = 1_000;
/// How many batches are looked at in one statement, commits and all.
const LOOKED_AT: u32 = 16;
/// How many batches are deleted in one statement.
const DELETED: u32 = 64;
/// The pause between two statements.
const PAUSE: Duration = Duration::from_millis(5);

/// How much of the log is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrimLimits {
    /// Commits that are older are not kept, in milliseconds.
    pub(crate) retention_ms: u64,
    /// About how many bytes of commits are kept.
    pub(crate) retention_bytes: u64,
    /// The time between two looks, in milliseconds.
    pub(crate) interval_ms: u64,
}

/// Trims the log of a store that this process leads.
#[derive(Debug)]
pub(crate) struct LogTrimmer {
    store: SharedStore,
    leader_id: Uuid,
    watches: Watches,
    clock: Arc<dyn Clock>,
    limits: TrimLimits,
    /// Up to where the log is measured, and how many bytes it keeps up to there.
    measured: Revision,
    log_bytes: u64,
    metrics: TrimMetrics,
}

impl LogTrimmer {
    pub(crate) fn new(watches: &Watches, leader_id: Uuid, clock: Arc<dyn Clock>, limits: TrimLimits) -> Self {
        let store = Arc::clone(&watches.source.store);
        let measured = watches.source.hub.mark();
        let (watches, metrics) = (watches.clone(), TrimMetrics::new());
        Self { store, leader_id, watches, clock, limits, measured, log_bytes: 0, metrics }
    }

    /// Trims for ever.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            if let Err(error) = self.trim().await {
                tracing::warn!(%error, "the log could not be trimmed; it is tried again later");
            }
            sleep(Duration::from_millis(self.limits.interval_ms)).await;
        }
    }

    /// Trims what need not be kept now.
    pub(super) async fn trim(&mut self) -> Result<(), StoreError> {
        // What an earlier process could not finish comes first: it is below the mark that it stored.
        self.delete().await?;
        self.measure().await?;
        let hub = &self.watches.source.hub;
        let (mark, bytes) = self.choose(hub.mark()).await?;
        if mark > hub.mark() {
            // It takes a while where much waits, so it comes before anybody is refused anything for it.
            self.store.carry_over(mark).await?;
            hub.set_leaving(mark);
            let raised = self.raise(mark).await;
            hub.set_leaving(0);
            if !raised? {
                return Ok(());
            }
            self.log_bytes = self.log_bytes.saturating_sub(bytes);
            self.delete().await?;
        }
        self.metrics.measured(self.log_bytes, self.watches.source.hub.mark());
        Ok(())
    }

    /// Raises the mark, unless what is up to it must be kept after all. Nobody begins before it meanwhile.
    async fn raise(&self, mark: Revision) -> Result<bool, StoreError> {
        // Whoever follows is told of a later revision before it can only be resumed after that.
        self.watches.readers.told(mark).await;
        if mark > self.floor() {
            // A snapshot was begun before that was known, and needs what was to go.
            return Ok(false);
        }
        // Stored before anything goes: a process that starts later must refuse what this one deletes.
        let raised = self.store.raise_log_mark(self.leader_id, mark).await?;
        if raised {
            self.watches.source.hub.raise_mark(mark);
        }
        Ok(raised)
    }

    async fn delete(&self) -> Result<(), StoreError> {
        loop {
            let deleted = self.store.trim_log(DELETED).await?;
            self.metrics.trimmed(deleted);
            if deleted == 0 {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    /// Adds what the log grew by. Every row is looked at once.
    async fn measure(&mut self) -> Result<(), StoreError> {
        loop {
            let rows = self.store.log_rows(self.measured, MEASURED).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            self.measured = last.last;
            self.log_bytes += rows.iter().map(|row| row.bytes).sum::<u64>();
            sleep(PAUSE).await;
        }
    }

    /// Up to which revision nothing need be kept, and how many bytes that is.
    async fn choose(&self, mark: Revision) -> Result<(Revision, u64), StoreError> {
        let (mut chosen, mut bytes) = (mark, 0);
        let old_ms = self.clock.unix_ms().saturating_sub(self.limits.retention_ms);
        let (floor, hub) = (self.floor(), &self.watches.source.hub);
        loop {
            let rows = self.store.log_rows(chosen, LOOKED_AT).await?;
            if rows.is_empty() {
                return Ok((chosen, bytes));
            }
            let commits = self.store.log(chosen, LOOKED_AT).await?;
            for LogRow { last, bytes: row_bytes } in rows {
                let is_over = self.log_bytes.saturating_sub(bytes) > self.limits.retention_bytes;
                let is_old = commits
                    .iter()
                    .find(|commit| commit.revision == last)
                    .is_some_and(|commit| commit.committed_at_ms < old_ms);
                if !(is_over || is_old) || last > floor {
                    if (is_over || is_old) && last > hub.kept_after() {
                        hub.ask_to_keep_less();
                    }
                    return Ok((chosen, bytes));
                }
                (chosen, bytes) = (last, bytes + row_bytes);
            }
            sleep(PAUSE).await;
        }
    }

    /// What must be kept whatever its age: what was not published yet, what a snapshot needs that is being read, and what others
    /// asked for.
    fn floor(&self) -> Revision {
        let source = &self.watches.source;
        let held = self.watches.readers.held().unwrap_or(Revision::MAX);
        source.hub.head().min(held).min(source.hub.kept_after())
    }
}
