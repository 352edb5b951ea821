//! Why an order is refused.

use gameshelf::errors::Reason;

use super::Grant;

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    GameUnknown,
    GameDelisted,
    /// The order's price is the one in the catalogue.
    PriceChanged,
    PaymentDeclined,
    /// The arbiter did not give the game, with the commit at which that was judged, where the arbiter said it.
    NotGranted(NotGranted, Option<Grant>),
}

/// Why the arbiter did not give a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// The customer owned it before, and not by this order.
    AlreadyOwned,
    /// It is a limited edition, and no copy was left.
    OutOfStock,
}

impl NotGranted {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::AlreadyOwned, Self::OutOfStock];

    /// The reason as it stands in an error, the arbiter's and ours.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::AlreadyOwned => Reason::AlreadyOwned,
            Self::OutOfStock => Reason::OutOfStock,
        }
    }

    /// The one with this reason; none when it is no definite refusal of a grant.
    pub(crate) fn of(reason: Reason) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.reason() == reason)
    }
}

impl Refusal {
    /// The reason as it stands in an error.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::GameUnknown => Reason::GameUnknown,
            Self::GameDelisted => Reason::GameDelisted,
            Self::PriceChanged => Reason::PriceChanged,
            Self::PaymentDeclined => Reason::PaymentDeclined,
            Self::NotGranted(why, _) => why.reason(),
        }
    }
}
