//! The copy as the crate `copy` keeps it: rows go to the store, and then whoever watches is told.

use std::sync::Arc;

use copy::{Batch, Row, Target};
use gameshelf::tokens::Token;

use crate::hub::Hub;
use crate::store::{Store, StoreError};

/// Where the rows of the copy go.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) store: Arc<Store>,
    pub(crate) hub: Arc<Hub>,
}

impl Target for Kept {
    type Error = StoreError;

    async fn checkpoint(&self) -> Result<Option<Token>, StoreError> {
        self.store.checkpoint().await
    }

    async fn begin(&self) -> Result<(), StoreError> {
        self.store.begin_build().await
    }

    async fn stage(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.store.gather(&rows).await
    }

    async fn swap(&self, checkpoint: Token) -> Result<(), StoreError> {
        self.store.swap(checkpoint).await?;
        self.hub.rebuilt(checkpoint);
        Ok(())
    }

    async fn apply(&self, batch: &Batch<'_>) -> Result<Vec<Row>, StoreError> {
        let before = self.store.apply(batch).await?;
        // Not before it is on disk: what was told must be there after a crash.
        self.hub.applied(batch.to, batch.commits);
        Ok(before)
    }

    async fn rows(&self, partition: u8) -> Result<Vec<Row>, StoreError> {
        self.store.rows(partition).await
    }

    async fn replace(&self, partition: u8, checkpoint: Token, rows: Vec<Row>) -> Result<(), StoreError> {
        self.store.replace(partition, checkpoint, &rows).await?;
        self.hub.mended(partition);
        Ok(())
    }

    async fn sweep(&self) -> Result<bool, StoreError> {
        self.store.sweep().await
    }
}
