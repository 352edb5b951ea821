//! How a process comes to lead a store.

use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Clock;
use tokio::time::sleep;
use uuid::Uuid;

use super::Lease;
use crate::store::{Head, LeaseRow, LeaseStore, Store, StoreError};

/// How often a lease that somebody else holds is looked at while it lasts.
const LOOKS_PER_LEASE: u32 = 10;

/// How often the lease is tried to be taken from a leader that renews it meanwhile.
const TAKE_ATTEMPTS: u32 = 20;

/// How this process takes the lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakeOptions {
    /// Names this process in the store.
    pub(crate) leader_id: Uuid,
    /// How long its lease lasts after a renewal.
    pub(crate) lease: Duration,
    /// Whether a leader that is alive is replaced.
    pub(crate) take_over: bool,
    /// Whether the store is not the one that was there before.
    pub(crate) restored: bool,
}

/// A store that is led.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) head: Head,
    pub(crate) lease: Lease,
}

/// Why a store could not be led.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// Another process leads it, and is alive.
    #[error("another arbiter leads this store: stop it first, or start this one with --take-over")]
    Led,
    /// The lease changed hands too often.
    #[error("other arbiters take the lead of this store again and again; stop all but one")]
    Contended,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes the lead of a store.
///
/// Where processes agree by a lease and another one holds it, it is waited out: without `take_over` first, and only if it is not
/// renewed meanwhile; with it after the old leader can commit nothing more. Either way nothing is committed before the old
/// leader's lease is over. A store that is not proven to be the one that was there before begins a new incarnation. Dropping the future gives up; a lead that was taken by then ends with its lease.
pub(crate) async fn take(
    store: &dyn Store,
    clock: &Arc<dyn Clock>,
    options: &TakeOptions,
) -> Result<Leading, TakeError> {
    let Leading { head, lease } = lead(store, clock, options).await?;
    let before = head.incarnation;
    let head = store.settle_incarnation(options.leader_id, options.restored, clock.unix_ms()).await?;
    let head = head.ok_or(TakeError::Led)?;
    if head.incarnation != before {
        tracing::warn!(
            incarnation = head.incarnation,
            "the store is not proven to be the one that was there before; tokens from before are refused, and copies are made anew"
        );
    }
    Ok(Leading { head, lease })
}

async fn lead(
    store: &dyn Store,
    clock: &Arc<dyn Clock>,
    options: &TakeOptions,
) -> Result<Leading, TakeError> {
    let Some(leases) = store.leases() else {
        let head = store.lead(options.leader_id, true).await?;
        let head = head.ok_or_else(|| StoreError::Corrupt("there is no head row".to_owned()))?;
        return Ok(Leading { head, lease: Lease::exclusive(Arc::clone(clock)) });
    };
    let taking = Taking { leases, clock, options };
    if options.take_over { taking.replace().await } else { taking.succeed().await }
}

struct Taking<'a> {
    leases: &'a dyn LeaseStore,
    clock: &'a Arc<dyn Clock>,
    options: &'a TakeOptions,
}

impl Taking<'_> {
    /// Takes the lead after a leader that ended, and refuses while one is alive.
    async fn succeed(&self) -> Result<Leading, TakeError> {
        let mut seen = self.leases.lease().await?;
        // After the answer: a renewal that it shows was sent before.
        let seen_at = self.clock.since_boot();
        let duration = Duration::from_millis(seen.duration_ms);
        if seen.leader_id.is_some() {
            tracing::info!(lease_ms = seen.duration_ms, "waiting for the lease of the last leader to end");
        }
        while seen.leader_id.is_some() && self.clock.since_boot().saturating_sub(seen_at) < duration {
            sleep(duration / LOOKS_PER_LEASE).await;
            let now = self.leases.lease().await?;
            if now != seen && now.leader_id.is_some() {
                return Err(TakeError::Led);
            }
            // It may have been given back meanwhile.
            seen = now;
        }
        self.take(&seen).await?.ok_or(TakeError::Led)
    }

    /// Takes the lead from whoever has it, and waits until that one's lease is over.
    async fn replace(&self) -> Result<Leading, TakeError> {
        for _ in 0..TAKE_ATTEMPTS {
            let seen = self.leases.lease().await?;
            let Some(leading) = self.take(&seen).await? else { continue };
            let taken_at = self.clock.since_boot();
            let old = seen.leader_id.map_or(Duration::ZERO, |_| Duration::from_millis(seen.duration_ms));
            tracing::info!(
                lease_ms = old.as_millis(),
                "took over; waiting for the old leader's lease to end"
            );
            // It is kept while it is waited for the other one's end.
            let waiting = async {
                while self.clock.since_boot().saturating_sub(taken_at) < old {
                    sleep(old / LOOKS_PER_LEASE).await;
                }
            };
            return tokio::select! {
                () = waiting => Ok(leading),
                lost = super::keep(&leading.lease, self.leases, self.options.leader_id) => match lost {
                    Ok(never) => match never {},
                    Err(_) => Err(TakeError::Led),
                },
            };
        }
        Err(TakeError::Contended)
    }

    async fn take(&self, seen: &LeaseRow) -> Result<Option<Leading>, StoreError> {
        let TakeOptions { leader_id, lease, .. } = *self.options;
        let sent_at = self.clock.since_boot();
        let duration_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let head = self.leases.take(leader_id, seen, duration_ms).await?;
        Ok(head.map(|head| Leading { head, lease: Lease::held(Arc::clone(self.clock), lease, sent_at) }))
    }
}
