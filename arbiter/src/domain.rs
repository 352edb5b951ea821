//! The rules of games, pure: a command and the state it needs go in, a decision comes out.
//!
//! Nothing here knows the wire, SQL or time. The sequencer, the log, request ids and Watch handle commands and
//! decisions without looking inside them.

mod canonical;
mod command;
mod decide;
mod state;

pub(crate) use command::{
    Cause, Command, CustomerId, GameId, Grant, Key, OnNotOwned, OnOwned, Reason, RequestId, Revoke,
};
pub(crate) use decide::{RefusalKind, Verdict, decide};
pub(crate) use state::{Effects, Entitlement, PastEntitlement, State};

/// A place in the one order of commits. The first commit has revision 1; at revision 0 nothing is owned.
pub(crate) type Revision = u64;

/// What kind of change of ownership it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// The customer owns the game from now on.
    Granted,
    /// The customer does not own the game from now on.
    Revoked,
}

/// One change of ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) customer_id: CustomerId,
    pub(crate) game_id: GameId,
}

/// Everything that one request changed, at its place in the one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) request_id: RequestId,
    pub(crate) committed_at_ms: u64,
    pub(crate) cause: Cause,
    pub(crate) changes: Vec<Change>,
    /// The trace of the request, opaque here; empty when it is not recorded.
    pub(crate) traceparent: String,
}

impl Commit {
    /// About how many bytes the commit takes in memory and on the wire.
    pub(crate) fn bytes(&self) -> usize {
        let changes: usize = self
            .changes
            .iter()
            .map(|change| 16 + change.customer_id.as_str().len() + change.game_id.as_str().len())
            .sum();
        64 + self.cause.bytes() + self.traceparent.len() + changes
    }
}

/// What became of a request, as it is kept and repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The revision of its commit; where nothing changed, the revision at which that was judged.
    pub(crate) revision: Revision,
    pub(crate) verdict: Verdict,
}
