//! The rules of games, pure: a command and the state it needs go in, a decision comes out.
//!
//! Nothing here knows the wire, SQL or time. The sequencer, the log, request ids and Watch handle commands and
//! decisions without looking inside them.

mod canonical;
mod command;
mod commit;
mod decide;
#[cfg(test)]
mod decide_tests;
mod entity;
mod need;
mod state;
mod sums;

pub(crate) use command::{
    Cause, Command, CustomerId, GameId, Key, OnNothingToDo, Operation, Precondition, Reason, RequestId,
    ReservationId, StockAmount,
};
pub(crate) use commit::{Change, Commit, Outcome, RefusalKind, Verdict};
pub(crate) use decide::{Moment, Rules, decide};
pub(crate) use entity::{
    End, Entitlement, Ownership, PastEntitlement, Reservation, ReservationStatus, Stock,
};
pub(crate) use need::{Needs, Subject};
pub(crate) use state::{Effects, State};
pub(crate) use sums::Sums;

/// A place in the one order of commits. The first commit has revision 1; at revision 0 nothing is owned.
pub(crate) type Revision = u64;
