//! What is shown.

/// A game on a customer's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedGame {
    pub(crate) game_id: String,
    pub(crate) since_revision: u64,
}
