//! What can be asked of the arbiter.

pub(crate) use gameshelf::ids::{CustomerId, GameId, RequestId};

/// What state is known by: a customer and a game.
pub(crate) type Key = (CustomerId, GameId);

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
}

impl Reason {
    /// The number that is stored for it.
    pub(crate) fn number(self) -> i16 {
        self as i16
    }

    /// The reason that a stored number stands for.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        [Self::Purchase, Self::Gift, Self::Refund, Self::Chargeback, Self::Promotion, Self::Migration]
            .into_iter()
            .find(|reason| reason.number() == number)
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

/// What a grant does with a game that is owned already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnOwned {
    Refuse,
    Skip,
}

/// What a revocation does with a game that is not owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnNotOwned {
    Refuse,
    Skip,
}

/// Gives games to a customer: all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) customer_id: CustomerId,
    /// At least one, each once.
    pub(crate) game_ids: Vec<GameId>,
    pub(crate) on_owned: OnOwned,
    pub(crate) cause: Cause,
}

/// Takes games from a customer: all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revoke {
    pub(crate) customer_id: CustomerId,
    /// At least one, each once.
    pub(crate) game_ids: Vec<GameId>,
    pub(crate) on_not_owned: OnNotOwned,
    pub(crate) cause: Cause,
}

/// What can be asked of the arbiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Grant(Grant),
    Revoke(Revoke),
}

impl Command {
    /// Who and why.
    pub(crate) fn cause(&self) -> &Cause {
        match self {
            Self::Grant(grant) => &grant.cause,
            Self::Revoke(revoke) => &revoke.cause,
        }
    }

    /// The state that a decision on the command depends on.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let (customer_id, game_ids) = match self {
            Self::Grant(grant) => (&grant.customer_id, &grant.game_ids),
            Self::Revoke(revoke) => (&revoke.customer_id, &revoke.game_ids),
        };
        game_ids.iter().map(|game_id| (customer_id.clone(), game_id.clone()))
    }

    /// About how many bytes the command takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        let (customer_id, game_ids) = match self {
            Self::Grant(grant) => (&grant.customer_id, &grant.game_ids),
            Self::Revoke(revoke) => (&revoke.customer_id, &revoke.game_ids),
        };
        let games: usize = game_ids.iter().map(|game_id| 32 + game_id.as_str().len()).sum();
        256 + customer_id.as_str().len() + self.cause().bytes() + games
    }
}
