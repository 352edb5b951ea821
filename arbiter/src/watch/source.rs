//! Where readers take commits from: memory, or the log, whose parts they share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Batch, Part};
use super::{Hub, WatchError};
use crate::domain::Revision;
use crate::store::{SharedStore, StoreError};

/// About how many bytes of the log are read at once.
const READ_BYTES: u64 = 1 << 20;
/// The most batches of the log that are read at once.
const READ_BATCHES: u32 = 2_048;

/// What readers read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) store: SharedStore,
    pub(super) hub: Arc<Hub>,
    cache: Mutex<LogCache>,
    /// One reads the log, and the others find in the cache what it read.
    reading: tokio::sync::Mutex<()>,
}

/// Parts of the log that were read last. Readers that catch up together are close to each other.
#[derive(Debug)]
struct LogCache {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    limit_bytes: usize,
}

impl LogCache {
    fn after(&self, revision: Revision, limit_bytes: usize) -> Option<Part> {
        let holds = |batch: &&Arc<Batch>| batch.first() <= revision + 1 && revision < batch.last();
        self.batches.iter().find(holds)?.after(revision, limit_bytes)
    }

    fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        while self.bytes > self.limit_bytes {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

impl Source {
    pub(super) fn new(store: SharedStore, hub: Arc<Hub>, cache_bytes: usize) -> Self {
        let cache = LogCache { batches: VecDeque::new(), bytes: 0, limit_bytes: cache_bytes };
        Self { store, hub, cache: Mutex::new(cache), reading: tokio::sync::Mutex::new(()) }
    }

    fn cache(&self) -> MutexGuard<'_, LogCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commits after a revision below the head, at least one and about as many as asked for.
    pub(super) async fn after(
        &self,
        revision: Revision,
        limit_bytes: usize,
    ) -> Result<Vec<Part>, WatchError> {
        if let Some(parts) = self.hub.after(revision, limit_bytes)
            && !parts.is_empty()
        {
            return Ok(parts);
        }
        if let Some(part) = self.cache().after(revision, limit_bytes) {
            return Ok(vec![part]);
        }
        let _reading = self.reading.lock().await;
        if let Some(part) = self.cache().after(revision, limit_bytes) {
            return Ok(vec![part]);
        }
        let batch = self.read(revision).await?;
        self.cache().push(Arc::clone(&batch));
        Ok(batch.after(revision, limit_bytes).into_iter().collect())
    }

    /// Reads commits from the log, and proves that none is missing.
    async fn read(&self, after: Revision) -> Result<Arc<Batch>, WatchError> {
        let rows = self.store.log_rows(after, READ_BATCHES).await?;
        let mut bytes = 0;
        let fits = rows.iter().take_while(|row| {
            bytes += row.bytes;
            bytes <= READ_BYTES
        });
        let batches = u32::try_from(fits.count()).unwrap_or(READ_BATCHES).max(1);
        let mut commits = self.store.log(after, batches).await?;
        // The log may be ahead of what was published: that is not acknowledged yet.
        let head = self.hub.head();
        commits.retain(|commit| commit.revision <= head);
        let mut next = after;
        let without_gaps = commits.iter().all(|commit| {
            next += 1;
            commit.revision == next
        });
        if without_gaps && let Some(batch) = Batch::new(commits.into_iter().map(Arc::new).collect()) {
            return Ok(batch);
        }
        // Whoever trimmed it stored the mark before.
        self.hub.raise_mark(self.store.log_mark().await?);
        self.check_kept(after)?;
        Err(StoreError::Corrupt(format!("the log lacks commits after revision {after}")).into())
    }

    /// Refuses a place whose next commits may have left the log.
    pub(super) fn check_kept(&self, after: Revision) -> Result<(), WatchError> {
        let oldest = self.hub.oldest_begin();
        if after < oldest { Err(WatchError::Compacted { after, oldest }) } else { Ok(()) }
    }
}
