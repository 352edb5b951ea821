//! Readers of few customers, who are woken only by what concerns them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::super::batch::Batch;
use crate::domain::{CustomerId, Revision};

/// None: there is no commit 0.
const NOTHING: Revision = 0;

/// What a reader of few customers has not read yet. It changes under the hub's lock alone.
#[derive(Debug)]
pub(in super::super) struct NarrowReader {
    customers: Vec<CustomerId>,
    /// Nothing before this revision is unread.
    unread: AtomicU64,
    woken: Notify,
}

impl NarrowReader {
    /// The revision from which on something may be unread.
    pub(super) fn unread(&self) -> Option<Revision> {
        Some(self.unread.load(Ordering::SeqCst)).filter(|unread| *unread != NOTHING)
    }

    /// Waits for something that concerns it.
    pub(in super::super) async fn woken(&self) {
        self.woken.notified().await;
    }

    fn tell(&self, revision: Revision) {
        if self.unread().is_none() {
            self.unread.store(revision, Ordering::SeqCst);
        }
        self.woken.notify_one();
    }

    /// What came after `reached` meanwhile is not known one by one, so all of it may concern the reader.
    pub(super) fn has_read(&self, reached: Revision, newest: Revision) {
        if self.unread().is_some_and(|unread| unread <= reached) {
            let unread = if reached >= newest { NOTHING } else { reached + 1 };
            self.unread.store(unread, Ordering::SeqCst);
        }
    }
}

/// Who is to be told of which customer.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_customer: HashMap<CustomerId, Vec<Arc<NarrowReader>>>,
}

impl Index {
    pub(super) fn register(
        &mut self,
        customers: impl Iterator<Item = CustomerId>,
        reached: Revision,
    ) -> Arc<NarrowReader> {
        let customers: Vec<CustomerId> = customers.collect();
        let unread = AtomicU64::new(reached + 1);
        let reader = Arc::new(NarrowReader { customers, unread, woken: Notify::new() });
        for customer_id in &reader.customers {
            self.by_customer.entry(customer_id.clone()).or_default().push(Arc::clone(&reader));
        }
        reader
    }

    pub(super) fn forget(&mut self, reader: &Arc<NarrowReader>) {
        for customer_id in &reader.customers {
            if let Some(readers) = self.by_customer.get_mut(customer_id) {
                readers.retain(|other| !Arc::ptr_eq(other, reader));
                if readers.is_empty() {
                    self.by_customer.remove(customer_id);
                }
            }
        }
    }

    /// Tells those whom a batch concerns.
    pub(super) fn tell(&self, batch: &Batch) {
        if self.by_customer.is_empty() {
            return;
        }
        for commit in batch.commits() {
            let customers = commit.changes.iter().filter_map(|change| change.customer_id());
            for reader in customers.filter_map(|customer_id| self.by_customer.get(customer_id)).flatten() {
                reader.tell(commit.revision);
            }
        }
    }

    /// Tells everyone that commits from a revision on may concern them.
    pub(super) fn tell_all(&self, revision: Revision) {
        for reader in self.by_customer.values().flatten() {
            reader.tell(revision);
        }
    }
}
