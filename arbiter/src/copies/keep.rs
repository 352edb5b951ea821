//! Remembers copies in the store, beside the writer.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::Copies;
use crate::store::{Store, StoreError};
use crate::watch::Hub;

/// The time between two looks at the newest revision.
const LOOK: Duration = Duration::from_secs(1);

/// Follows the newest revision, and writes what is new of copies every few seconds. Never ends.
pub(crate) async fn keep(copies: &Copies, hub: &Hub, store: &dyn Store, leader_id: Uuid) -> Infallible {
    let interval = Duration::from_millis(copies.limits().interval_ms);
    let mut waited = Duration::ZERO;
    loop {
        copies.observe_head(hub.head());
        let pause = LOOK.min(interval);
        sleep(pause).await;
        waited += pause;
        if waited >= interval {
            waited = Duration::ZERO;
            if let Err(error) = copies.write(store, leader_id).await {
                tracing::warn!(%error, "what copies reported could not be stored; it is tried again");
            }
        }
    }
}

impl Copies {
    /// Writes what is new to the store, where this process leads it.
    pub(crate) async fn write(&self, store: &dyn Store, leader_id: Uuid) -> Result<(), StoreError> {
        let (rows, forget_before_ms) = self.take_unwritten();
        let written = store.put_copies(leader_id, &rows, forget_before_ms).await;
        if written.is_err() {
            self.give_back_unwritten(&rows);
        }
        written
    }
}
