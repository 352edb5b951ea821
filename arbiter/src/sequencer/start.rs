//! What the writer knows of the store from the beginning.

use std::collections::HashMap;

use crate::domain::{GameId, Stock};
use crate::store::{Head, Store, StoreError};

/// What the store said when it was led.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) head: Head,
    /// The stocks of all limited editions.
    pub(crate) stocks: HashMap<GameId, Stock>,
    /// When the next thing ends by itself.
    pub(crate) next_due_ms: Option<u64>,
    /// Request ids of a time before this one may have been forgotten.
    pub(crate) trim_mark_ms: u64,
}

impl Start {
    /// Asks the store that `head` was read of. Nobody else writes it by then.
    pub(crate) async fn read(store: &dyn Store, head: Head) -> Result<Self, StoreError> {
        let stocks = store.stocks().await?.into_iter().map(|stock| (stock.game_id.clone(), stock));
        Ok(Self {
            head,
            stocks: stocks.collect(),
            next_due_ms: store.next_due_ms().await?,
            trim_mark_ms: store.trim_mark_ms().await?,
        })
    }
}
