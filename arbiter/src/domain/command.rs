//! What can be asked of the arbiter.

use std::sync::Arc;

pub(crate) use gameshelf::ids::{CustomerId, GameId, RequestId};

use super::Revision;

/// What ownership is known by: a customer and a game.
pub(crate) type Key = (CustomerId, GameId);

/// A reservation is known by the request that opened it.
pub(crate) type ReservationId = RequestId;

/// Why ownership changes. The numbers are stored, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Reason {
    Purchase = 1,
    Gift = 2,
    Refund = 3,
    Chargeback = 4,
    Promotion = 5,
    Migration = 6,
    Expiry = 7,
    Administration = 8,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Purchase,
        Self::Gift,
        Self::Refund,
        Self::Chargeback,
        Self::Promotion,
        Self::Migration,
        Self::Expiry,
        Self::Administration,
    ];

    /// The number that is stored for it.
    pub(crate) fn number(self) -> i16 {
        self as i16
    }

    /// The reason that a stored number stands for.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// Who changes ownership, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    pub(crate) actor: String,
    pub(crate) order_id: String,
}

impl Cause {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        8 + self.actor.len() + self.order_id.len()
    }
}

/// What a change does where there is nothing for it to change: a grant of an owned game, a revocation of one that is not owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnNothingToDo {
    /// The whole request is refused.
    Refuse,
    /// The change is left out.
    Skip,
}

/// What must hold before the first operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    NotOwned(Key),
    Owned(Key),
    /// Nothing that the customer owns, or only this game, changed after the revision.
    UnchangedSince {
        customer_id: CustomerId,
        game_id: Option<GameId>,
        revision: Revision,
    },
}

/// How the stock of a limited edition is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StockAmount {
    /// All copies, those that are sold included.
    Total(u64),
    /// More copies.
    Add(u64),
}

/// One change that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Grant {
        key: Key,
        on_owned: OnNothingToDo,
        /// When the ownership ends by itself.
        ends_at_ms: Option<u64>,
    },
    Revoke {
        key: Key,
        on_not_owned: OnNothingToDo,
    },
    /// Two different customers.
    Transfer {
        from: CustomerId,
        to: CustomerId,
        game_id: GameId,
    },
    /// Opens the reservation that is known by the request's own id.
    Reserve {
        key: Key,
        hold_ms: u64,
    },
    Confirm {
        reservation_id: ReservationId,
    },
    Release {
        reservation_id: ReservationId,
    },
    SetStock {
        game_id: GameId,
        amount: StockAmount,
    },
    /// The arbiter's own: the time of an ownership ran out.
    End {
        key: Key,
    },
    /// The arbiter's own: the time of a reservation ran out.
    Expire {
        reservation_id: ReservationId,
    },
}

/// What is asked of the arbiter: all of it happens, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) preconditions: Vec<Precondition>,
    /// At least one, decided in this order.
    pub(crate) operations: Vec<Operation>,
    pub(crate) cause: Arc<Cause>,
}

impl Command {
    /// About how many bytes the command takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        let preconditions: usize = self.preconditions.iter().map(Precondition::bytes).sum();
        let operations: usize = self.operations.iter().map(Operation::bytes).sum();
        256 + self.cause.bytes() + preconditions + operations
    }
}

fn key_bytes(key: &Key) -> usize {
    32 + key.0.as_str().len() + key.1.as_str().len()
}

impl Precondition {
    fn bytes(&self) -> usize {
        match self {
            Self::NotOwned(key) | Self::Owned(key) => key_bytes(key),
            Self::UnchangedSince { customer_id, game_id, .. } => {
                48 + customer_id.as_str().len() + game_id.as_ref().map_or(0, |game_id| game_id.as_str().len())
            }
        }
    }
}

impl Operation {
    fn bytes(&self) -> usize {
        match self {
            Self::Grant { key, .. }
            | Self::Revoke { key, .. }
            | Self::Reserve { key, .. }
            | Self::End { key } => 16 + key_bytes(key),
            Self::Transfer { from, to, game_id } => {
                64 + from.as_str().len() + to.as_str().len() + game_id.as_str().len()
            }
            Self::SetStock { game_id, .. } => 48 + game_id.as_str().len(),
            Self::Confirm { .. } | Self::Release { .. } | Self::Expire { .. } => 32,
        }
    }
}
