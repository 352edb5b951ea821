//! Searches the store for unfinished orders: at the start all of them, and from time to time those that nobody works on,
//! such as one whose writing was not acknowledged, or one of another process that is gone.

use std::time::Duration;

use gameshelf::ids::OrderId;

use super::Saga;
use crate::store::{SharedStore, StoreError};

/// How many orders are read at once.
const PAGE: u32 = 1_000;

/// The pause after a search that failed.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) store: SharedStore,
    pub(super) saga: Saga,
    pub(super) interval: Duration,
}

impl Scanner {
    /// Searches until a search has succeeded, or the service stops.
    pub(super) async fn scan_until_done(&self) {
        while let Err(error) = self.scan().await {
            tracing::warn!(%error, "the search for unfinished orders failed, and is repeated");
            if self.stops_within(PAUSE).await {
                return;
            }
        }
    }

    /// Searches from time to time until the service stops.
    pub(super) async fn run(self) {
        while !self.stops_within(self.interval).await {
            self.scan_until_done().await;
        }
    }

    async fn scan(&self) -> Result<(), StoreError> {
        let mut after: Option<OrderId> = None;
        loop {
            let page = self.store.unfinished(after, PAGE).await?;
            let Some(last) = page.last().copied() else {
                return Ok(());
            };
            for order_id in page {
                self.saga.take(order_id, None).await;
            }
            after = Some(last);
        }
    }

    async fn stops_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.saga.stopping()).await.is_ok()
    }
}
