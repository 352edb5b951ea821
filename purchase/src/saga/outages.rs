//! Tells of an outage once when it begins and once when it ends, however many orders wait for its end.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which steps fail at present.
#[derive(Debug, Default)]
pub(super) struct Outages {
    failing: Mutex<HashSet<&'static str>>,
}

impl Outages {
    /// A step failed. Says whether that is news.
    pub(super) fn failed(&self, step: &'static str) -> bool {
        self.failing().insert(step)
    }

    /// A step succeeded. Says whether that is news.
    pub(super) fn succeeded(&self, step: &'static str) -> bool {
        self.failing().remove(step)
    }

    fn failing(&self) -> MutexGuard<'_, HashSet<&'static str>> {
        // Nothing is half done where the lock is held, so a panic elsewhere leaves the set as it should be.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_its_begin_and_its_end() {
        let outages = Outages::default();
        assert!(!outages.succeeded("grant"));
        assert!(outages.failed("grant"));
        assert!(!outages.failed("grant"));
        assert!(outages.failed("capture"), "each step has its own");
        assert!(outages.succeeded("grant"));
        assert!(!outages.succeeded("grant"));
    }
}
