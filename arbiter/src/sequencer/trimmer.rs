//! Forgets outcomes that are older than they are kept, beside the writer and without making it wait: a few rows at a time, with
//! a pause between.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::store::{SharedStore, StoreError};

/// How many outcomes are looked through in one statement, or reservations forgotten.
const CHUNK: u32 = 500;
/// The pause between two statements.
const PAUSE: Duration = Duration::from_millis(20);

/// Forgets the outcomes from before the mark that the writer gives: it refuses their ids already.
#[derive(Debug)]
pub(super) struct Trimmer {
    store: SharedStore,
    leader_id: Uuid,
    mark_ms: watch::Receiver<u64>,
}

impl Trimmer {
    pub(super) fn new(store: SharedStore, leader_id: Uuid, mark_ms: watch::Receiver<u64>) -> Self {
        Self { store, leader_id, mark_ms }
    }

    pub(super) async fn run(mut self) -> Infallible {
        loop {
            if self.mark_ms.changed().await.is_err() {
                return std::future::pending().await;
            }
            let mark_ms = *self.mark_ms.borrow_and_update();
            if let Err(error) = self.trim(mark_ms).await {
                tracing::warn!(%error, "outcomes could not be forgotten; it is tried again later");
            }
        }
    }

    async fn trim(&self, mark_ms: u64) -> Result<(), StoreError> {
        // Stored first: a process that starts later must refuse what this one forgets.
        if !self.store.raise_trim_mark(self.leader_id, mark_ms).await? {
            return Ok(());
        }
        // The request that opened a reservation is known as long as that is.
        while self.store.trim_reservations(mark_ms, CHUNK).await? == u64::from(CHUNK) {
            sleep(PAUSE).await;
        }
        let mut after = None;
        loop {
            after = self.store.trim(after, mark_ms, CHUNK).await?;
            if after.is_none() {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }
}
