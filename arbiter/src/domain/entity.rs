//! What there is: entitlements, reservations, and stocks of limited editions.

use std::sync::Arc;

use super::Revision;
use super::command::{Cause, CustomerId, GameId, Key, ReservationId};

/// A customer owning a game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entitlement {
    pub(crate) customer_id: CustomerId,
    pub(crate) game_id: GameId,
    /// The revision since which it is owned.
    pub(crate) valid_from: Revision,
    pub(crate) granted_at_ms: u64,
    pub(crate) cause: Arc<Cause>,
    /// When it ends by itself; none for most.
    pub(crate) ends_at_ms: Option<u64>,
    /// Whether it is a copy of a limited edition, which is for sale again when it ends.
    pub(crate) from_stock: bool,
}

impl Entitlement {
    pub(crate) fn key(&self) -> Key {
        (self.customer_id.clone(), self.game_id.clone())
    }
}

/// How an ownership ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The revision since which it is no longer owned.
    pub(crate) valid_to: Revision,
    pub(crate) ended_at_ms: u64,
    pub(crate) cause: Arc<Cause>,
}

/// A customer having owned a game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastEntitlement {
    pub(crate) entitlement: Arc<Entitlement>,
    pub(crate) end: End,
}

/// An ownership from its beginning to its end, if it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) entitlement: Entitlement,
    pub(crate) end: Option<End>,
}

/// What became of a reservation. The numbers are stored, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum ReservationStatus {
    Open = 1,
    Confirmed = 2,
    Released = 3,
    Expired = 4,
}

impl ReservationStatus {
    /// The number that is stored for it.
    pub(crate) fn number(self) -> i16 {
        self as i16
    }

    /// The status that a stored number stands for.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        [Self::Open, Self::Confirmed, Self::Released, Self::Expired]
            .into_iter()
            .find(|status| status.number() == number)
    }
}

/// A game held for a customer.
#[expect(clippy::struct_field_names, reason = "it is the name of the id everywhere else")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) reservation_id: ReservationId,
    pub(crate) customer_id: CustomerId,
    pub(crate) game_id: GameId,
    pub(crate) status: ReservationStatus,
    pub(crate) expires_at_ms: u64,
    /// Whether it holds a copy of a limited edition.
    pub(crate) from_stock: bool,
    /// The revision that made it what it is.
    pub(crate) changed_at: Revision,
    pub(crate) changed_at_ms: u64,
}

impl Reservation {
    pub(crate) fn key(&self) -> Key {
        (self.customer_id.clone(), self.game_id.clone())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.status == ReservationStatus::Open
    }
}

/// How many copies of a limited edition there are. Sold and reserved copies together are never more than all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) game_id: GameId,
    pub(crate) total: u64,
    pub(crate) sold: u64,
    pub(crate) reserved: u64,
}

impl Stock {
    /// The copies that are taken.
    pub(crate) fn taken(&self) -> u64 {
        self.sold + self.reserved
    }

    /// Whether no copy is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken() >= self.total
    }
}
