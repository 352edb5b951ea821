//! Tells whoever waits for an order that it is at its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gameshelf::ids::OrderId;
use tokio::sync::watch;

use crate::order::Order;

/// Who waits for which order. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    watched: Arc<Mutex<HashMap<OrderId, Watched>>>,
    limit: usize,
}

#[derive(Debug)]
struct Watched {
    ended: watch::Sender<Option<Order>>,
    watchers: usize,
}

/// Sees the end of one order.
#[derive(Debug)]
pub(crate) struct EndWatch {
    ends: Ends,
    order_id: OrderId,
    ended: watch::Receiver<Option<Order>>,
}

impl Ends {
    /// At most `limit` orders are watched at once.
    pub(crate) fn new(limit: usize) -> Self {
        Self { watched: Arc::default(), limit }
    }

    /// Watches an order from now on. None when too many are watched.
    pub(crate) fn watch(&self, order_id: OrderId) -> Option<EndWatch> {
        let mut watched = self.lock();
        let room = watched.len() < self.limit;
        let ended = match watched.entry(order_id) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().watchers += 1;
                entry.get().ended.subscribe()
            }
            Entry::Vacant(entry) if room => {
                let (sender, receiver) = watch::channel(None);
                entry.insert(Watched { ended: sender, watchers: 1 });
                receiver
            }
            Entry::Vacant(_) => return None,
        };
        Some(EndWatch { ends: self.clone(), order_id, ended })
    }

    /// Tells the watchers of an order that is at its end.
    pub(crate) fn tell(&self, order: &Order) {
        if let Some(watched) = self.lock().get(&order.order_id) {
            watched.ended.send_replace(Some(order.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, Watched>> {
        // Nothing is half done where the lock is held, so a panic elsewhere leaves the map as it should be.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndWatch {
    /// Returns the order once it is at its end. May be cancelled and called again.
    pub(crate) async fn ended(&mut self) -> Order {
        loop {
            if let Some(order) = self.ended.borrow_and_update().clone() {
                return order;
            }
            if self.ended.changed().await.is_err() {
                // The sender lives in the map for as long as this watches.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for EndWatch {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.ends.lock().entry(self.order_id) {
            entry.get_mut().watchers -= 1;
            if entry.get().watchers == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::order;

    #[tokio::test]
    async fn every_watcher_sees_the_end_and_leaves_nothing_behind() {
        let ends = Ends::new(1);
        let order = order(1);
        let mut first = ends.watch(order.order_id).unwrap();
        let mut second = ends.watch(order.order_id).unwrap();
        assert!(ends.watch(OrderId::new_v7(1, [9; 10])).is_none(), "only one order is watched at once");
        ends.tell(&order);
        assert_eq!(first.ended().await, order);
        assert_eq!(second.ended().await, order);
        drop((first, second));
        assert!(ends.lock().is_empty());
    }
}
