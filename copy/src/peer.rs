//! The way to the arbiter, however it is found.

use mesh::outbound::{Calls, Dispatch, Outbound, Streams};

/// The way to the arbiter. Made of an [`Outbound`] where it has one address, of a [`Dispatch`] where it has several instances.
#[derive(Clone, Debug)]
pub struct Peer {
    /// For calls.
    pub calls: Calls,
    /// For the stream of changes.
    pub streams: Streams,
}

impl From<&Outbound> for Peer {
    fn from(outbound: &Outbound) -> Self {
        Self { calls: outbound.calls(), streams: outbound.streams() }
    }
}

impl From<&Dispatch> for Peer {
    fn from(dispatch: &Dispatch) -> Self {
        Self { calls: dispatch.calls(), streams: dispatch.streams() }
    }
}
