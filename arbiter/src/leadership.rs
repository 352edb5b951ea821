//! Who may write, and until when its answers are surely the newest.
//!
//! On SQLite the lock on the file lets one process in, for as long as it lives. On PostgreSQL a lease stands in the store
//! itself: the leader renews it, and counts it from when the renewal that was acknowledged was sent, by a clock that runs on
//! while the machine sleeps. Whoever takes over waits one lease out before its first commit. So whatever the old leader
//! answers inside its lease, no later commit has been acknowledged by then (Gray and Cheriton, "Leases", SOSP 1989).

mod lease;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use lease::{Lease, keep};
pub(crate) use take::{Leading, TakeError, TakeOptions, take};
