//! What the services are called: each says its name to whoever asks, and its callers know it by that name.

/// Keeps who owns which game.
pub const ARBITER: &str = "arbiter";
/// Sells games.
pub const PURCHASE: &str = "purchase";
/// Shows customers their games.
pub const GAME_LIST: &str = "game-list";
/// Provides payments.
pub const PAYMENT: &str = "payment";
