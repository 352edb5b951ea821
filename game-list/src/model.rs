//! What the copy is made of.

/// A customer owning a game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entitlement {
    pub(crate) customer_id: String,
    pub(crate) game_id: String,
    pub(crate) since_revision: u64,
}

/// A change of ownership of one game by one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) customer_id: String,
    pub(crate) game_id: String,
    /// Whether the customer owns the game from then on, or no longer.
    pub(crate) granted: bool,
}

/// Everything that one request changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) revision: u64,
    pub(crate) changes: Vec<Change>,
    /// The W3C `traceparent` of the request; empty when it is not recorded.
    pub(crate) traceparent: String,
}

/// A game on a customer's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedGame {
    pub(crate) game_id: String,
    pub(crate) since_revision: u64,
}
