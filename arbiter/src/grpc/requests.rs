//! From the wire to the domain. Every field is checked, and all that is wrong is told at once.

mod copies;
mod import;
mod parts;
mod read;
#[cfg(test)]
mod tests;
mod watch;
mod write;

use std::time::Duration;

use gameshelf::tokens::Token;

use crate::domain::{Command, RequestId};

pub(super) use copies::{ReportedCopy, report_copy};
pub(super) use import::{ImportRows, import};
pub(super) use read::{Check, Explain, History, List, check, explain, history, list, reservation, stock};
pub(super) use watch::{PollChanges, PollStart, Watch, WatchStart, poll_changes, watch};
pub(super) use write::{commit, confirm, grant, release, reserve, revoke, set_stock, transfer};

/// The limits of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) changes_per_request: usize,
    pub(crate) pairs_per_check: usize,
    pub(crate) page_size_default: u32,
    pub(crate) page_size_max: u32,
    pub(crate) reservation_hold_max_ms: u64,
    /// The most customers, games and partitions that one filter of Watch names, all together.
    pub(crate) filter_items: usize,
    pub(crate) poll_wait_max_ms: u64,
}

/// How a request names the operations that its command has, so that an error names what is in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Items {
    Operations,
    GameIds,
    Rows,
    /// It has one operation, of this game.
    GameId,
    /// It has one operation, of this reservation.
    ReservationId,
}

impl Items {
    /// The field of the request.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::GameIds => "game_ids",
            Self::Rows => "rows",
            Self::GameId => "game_id",
            Self::ReservationId => "reservation_id",
        }
    }

    /// What of the request is the operation of this index.
    pub(super) fn operation(self, index: usize) -> String {
        match self {
            Self::Operations | Self::GameIds | Self::Rows => format!("{}[{index}]", self.field()),
            Self::GameId | Self::ReservationId => self.field().to_owned(),
        }
    }
}

/// A write as it came in.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) request_id: RequestId,
    pub(super) items: Items,
    pub(super) command: Command,
}

/// What is asked of the freshness of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It must see every write that was acknowledged before.
    Strong,
    AtLeast(Token),
    AtMostOld(Duration),
    /// Whatever this arbiter has.
    Any,
}
