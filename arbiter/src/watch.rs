//! Watch: every commit, in order, to everyone who asks, from a snapshot or from a token.
//!
//! Readers pull. Each stream keeps the revision it has reached and takes what comes after it from the [`Hub`], which holds
//! the newest commits in memory, or else from the store's log. So a slow reader costs the arbiter one bounded queue, and
//! writers never wait for a reader.

mod hub;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use hub::Hub;
pub(crate) use stream::{Event, Start, WatchError, WatchLimits, Watches};
