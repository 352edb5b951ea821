//! The lease that this process holds.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh::environment::Clock;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::store::LeaseStore;

/// A lease is renewed this many times in its duration, so that a renewal or two may fail.
const RENEWALS_PER_LEASE: u32 = 4;

/// Until when this process surely is the only one that writes.
#[derive(Debug)]
pub(crate) struct Lease {
    clock: Arc<dyn Clock>,
    /// None where the store lets only one process in.
    duration: Option<Duration>,
    /// When the last renewal that was acknowledged was sent, in milliseconds since the machine started.
    proven_at_ms: AtomicU64,
}

/// Another process took the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another arbiter took the lease of this store")]
pub(crate) struct LeaseLost;

impl Lease {
    /// The lease of a store that lets only one process in: it never ends.
    pub(crate) fn exclusive(clock: Arc<dyn Clock>) -> Self {
        Self { clock, duration: None, proven_at_ms: AtomicU64::new(0) }
    }

    /// A lease that was taken or renewed by a call sent at `sent_at`.
    pub(crate) fn held(clock: Arc<dyn Clock>, duration: Duration, sent_at: Duration) -> Self {
        let lease = Self { clock, duration: Some(duration), proven_at_ms: AtomicU64::new(0) };
        lease.prove(sent_at);
        lease
    }

    fn prove(&self, sent_at: Duration) {
        let sent_at_ms = u64::try_from(sent_at.as_millis()).unwrap_or(u64::MAX);
        self.proven_at_ms.store(sent_at_ms, Ordering::Release);
    }

    /// None inside the lease; outside of it how old what is known here may be.
    pub(crate) fn age(&self) -> Option<Duration> {
        let duration = self.duration?;
        let proven_at = Duration::from_millis(self.proven_at_ms.load(Ordering::Acquire));
        let since = self.clock.since_boot().saturating_sub(proven_at);
        (since >= duration).then_some(since)
    }
}

/// Renews a lease for as long as this process holds it.
///
/// # Errors
///
/// [`LeaseLost`] when another process holds it. A store that does not answer is asked again; the lease ends meanwhile.
pub(crate) async fn keep(
    lease: &Lease,
    store: &dyn LeaseStore,
    leader_id: Uuid,
) -> Result<Infallible, LeaseLost> {
    let Some(duration) = lease.duration else { return std::future::pending().await };
    let pause = duration / RENEWALS_PER_LEASE;
    loop {
        sleep(pause).await;
        let sent_at = lease.clock.since_boot();
        match timeout(duration, store.renew(leader_id)).await {
            Ok(Ok(true)) => lease.prove(sent_at),
            Ok(Ok(false)) => return Err(LeaseLost),
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
            Err(_) => tracing::warn!("the renewal of the lease was not answered in time"),
        }
    }
}
