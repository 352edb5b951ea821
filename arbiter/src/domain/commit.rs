//! What became of a command: its outcome, and what it changed.

use std::sync::Arc;

use super::Revision;
use super::command::{Cause, CustomerId, GameId, Key, RequestId, ReservationId};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The customer owns the game from now on.
    Granted { key: Key, ends_at_ms: Option<u64>, reservation_id: Option<ReservationId> },
    /// The customer does not own the game from now on. What ended had begun at `valid_from`.
    Revoked { key: Key, valid_from: Revision, ends_at_ms: Option<u64> },
    /// A reservation was opened.
    Reserved { key: Key, reservation_id: ReservationId, expires_at_ms: u64 },
    /// A reservation was closed without a grant.
    Released { key: Key, reservation_id: ReservationId },
    /// The stock of a limited edition was set.
    StockSet { game_id: GameId, total: u64 },
}

impl Change {
    /// Whom it concerns; nobody where it is about a stock.
    pub(crate) fn customer_id(&self) -> Option<&CustomerId> {
        match self {
            Self::Granted { key, .. }
            | Self::Revoked { key, .. }
            | Self::Reserved { key, .. }
            | Self::Released { key, .. } => Some(&key.0),
            Self::StockSet { .. } => None,
        }
    }

    /// The game.
    pub(crate) fn game_id(&self) -> &GameId {
        match self {
            Self::Granted { key, .. }
            | Self::Revoked { key, .. }
            | Self::Reserved { key, .. }
            | Self::Released { key, .. } => &key.1,
            Self::StockSet { game_id, .. } => game_id,
        }
    }

    /// About how many bytes it takes in memory and on the wire.
    fn bytes(&self) -> usize {
        match self {
            Self::Granted { key, .. }
            | Self::Revoked { key, .. }
            | Self::Reserved { key, .. }
            | Self::Released { key, .. } => 64 + key.0.as_str().len() + key.1.as_str().len(),
            Self::StockSet { game_id, .. } => 24 + game_id.as_str().len(),
        }
    }
}

/// Everything that one request changed, at its place in the one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) request_id: RequestId,
    pub(crate) committed_at_ms: u64,
    pub(crate) cause: Arc<Cause>,
    pub(crate) changes: Vec<Change>,
    /// The trace of the request, opaque here; empty when it is not recorded.
    pub(crate) traceparent: String,
}

impl Commit {
    /// About how many bytes the commit takes in memory and on the wire.
    pub(crate) fn bytes(&self) -> usize {
        let changes: usize = self.changes.iter().map(Change::bytes).sum();
        64 + self.cause.bytes() + self.traceparent.len() + changes
    }
}

/// Why one item of a command cannot be done. The numbers are stored, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum RefusalKind {
    AlreadyOwned = 1,
    NotOwned = 2,
    ChangedSince = 3,
    OutOfStock = 4,
    EndTimePassed = 5,
    AlreadyReserved = 6,
    ReservationLimit = 7,
    ReservationUnknown = 8,
    ReservationClosed = 9,
    ReservationExpired = 10,
    StockBelowSold = 11,
    StockLimit = 12,
    RevisionUnknown = 13,
}

impl RefusalKind {
    const ALL: [Self; 13] = [
        Self::AlreadyOwned,
        Self::NotOwned,
        Self::ChangedSince,
        Self::OutOfStock,
        Self::EndTimePassed,
        Self::AlreadyReserved,
        Self::ReservationLimit,
        Self::ReservationUnknown,
        Self::ReservationClosed,
        Self::ReservationExpired,
        Self::StockBelowSold,
        Self::StockLimit,
        Self::RevisionUnknown,
    ];

    /// The number that is stored for it.
    pub(crate) fn number(self) -> i32 {
        self as i32
    }

    /// The kind that a stored number stands for.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What was judged of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done.
    Accepted {
        /// For each operation whether it changed anything.
        changed: Vec<bool>,
        /// When the reservation that it opened ends by itself.
        expires_at_ms: Option<u64>,
    },
    /// Nothing is done. The items that stand against it, by their place: preconditions are counted first, then operations.
    Refused { items: Vec<(u32, RefusalKind)> },
}

/// What became of a request, as it is kept and repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The revision of its commit; where nothing changed, the revision at which that was judged.
    pub(crate) revision: Revision,
    pub(crate) verdict: Verdict,
}
