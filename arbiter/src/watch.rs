//! Watch: every commit, in order, to everyone who asks, from a snapshot or from a token.
//!
//! Readers pull, by a stream or by polling; both go by the same [`engine`]. A reader keeps the place it has reached and takes what
//! comes after it from the [`Hub`], which holds the newest commits in memory, or else from the store's log. What several readers
//! take is shared, also as bytes of the wire. So a reader costs the arbiter its place and what its connection has not sent yet,
//! and writers never wait for one.

mod batch;
mod digested;
mod engine;
mod event;
mod filter;
mod hub;
mod metrics;
mod poll;
mod readers;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod trim;

pub(crate) use batch::{Part, Wire};
pub(crate) use engine::Position;
pub(crate) use event::{Event, Start, Subscription, WatchError, WatchLimits};
pub(crate) use filter::Filter;
pub(crate) use hub::Hub;
pub(crate) use poll::{Poll, PollFrom};
pub(crate) use stream::{WatchStream, Watches};
pub(crate) use trim::{LogTrimmer, TrimLimits};
