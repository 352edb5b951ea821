//! How many orders are not at their end, and how many there may be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Counts unfinished orders. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Backlog {
    count: Arc<AtomicUsize>,
    limit: usize,
}

/// There are as many unfinished orders as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {limit} unfinished orders, and no more are taken")]
pub(crate) struct BacklogFull {
    pub(crate) limit: usize,
}

/// A place of one unfinished order. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Slot {
    count: Arc<AtomicUsize>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backlog {
    pub(crate) fn new(limit: usize) -> Self {
        Self { count: Arc::new(AtomicUsize::new(0)), limit }
    }

    /// A place for a new order.
    pub(crate) fn try_enter(&self) -> Result<Slot, BacklogFull> {
        let room = |count: usize| (count < self.limit).then_some(count + 1);
        match self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(_) => Ok(Slot { count: Arc::clone(&self.count) }),
            Err(_) => Err(BacklogFull { limit: self.limit }),
        }
    }

    /// A place for an order that is on disk already. It is counted, also beyond the limit.
    pub(crate) fn enter(&self) -> Slot {
        self.count.fetch_add(1, Ordering::Relaxed);
        Slot { count: Arc::clone(&self.count) }
    }

    /// The count, for as long as it is kept.
    pub(crate) fn weak(&self) -> Weak<AtomicUsize> {
        Arc::downgrade(&self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let backlog = Backlog::new(2);
        let first = backlog.try_enter().unwrap();
        let stored = backlog.enter();
        assert_eq!(backlog.try_enter().unwrap_err(), BacklogFull { limit: 2 });
        let beyond = backlog.enter();
        drop((first, beyond));
        assert!(backlog.try_enter().is_ok());
        drop(stored);
        assert_eq!(backlog.count.load(Ordering::Relaxed), 0);
    }
}
