//! Who may write, and until when its answers are surely the newest.
//!
//! On SQLite the lock on the file lets one process in, for as long as it lives. On PostgreSQL a lease stands in the store
//! itself: the leader renews it, and counts it from when the renewal that was acknowledged was sent, by a clock that runs on
//! while the machine sleeps. Whoever takes over waits one lease out before its first commit. So whatever the old leader
//! answers inside its lease, no later commit has been acknowledged by then (Gray and Cheriton, "Leases", SOSP 1989).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh::environment::Clock;

/// Until when this process surely is the only one that writes.
#[derive(Debug)]
pub(crate) struct Lease {
    clock: Arc<dyn Clock>,
    /// None where the store lets only one process in.
    duration: Option<Duration>,
    /// When the last renewal that was acknowledged was sent, in milliseconds since the machine started.
    proven_at_ms: AtomicU64,
}

impl Lease {
    /// The lease of a store that lets only one process in: it never ends.
    pub(crate) fn exclusive(clock: Arc<dyn Clock>) -> Self {
        Self { clock, duration: None, proven_at_ms: AtomicU64::new(0) }
    }

    /// None inside the lease; outside of it how old what is known here may be.
    pub(crate) fn age(&self) -> Option<Duration> {
        let duration = self.duration?;
        let proven_at = Duration::from_millis(self.proven_at_ms.load(Ordering::Acquire));
        let since = self.clock.since_boot().saturating_sub(proven_at);
        (since >= duration).then_some(since)
    }
}
