//! What a person does: one module for each command.

pub(crate) mod buy;
mod change;
pub(crate) mod grant;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod watch;

use clap::ValueEnum;
use gameshelf::proto::arbiter::v1 as arbiter;

/// Why ownership changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    Purchase,
    Gift,
    Refund,
    Chargeback,
    Promotion,
    Migration,
}

impl From<Reason> for arbiter::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Purchase => Self::Purchase,
            Reason::Gift => Self::Gift,
            Reason::Refund => Self::Refund,
            Reason::Chargeback => Self::Chargeback,
            Reason::Promotion => Self::Promotion,
            Reason::Migration => Self::Migration,
        }
    }
}

/// The name of a reason that came over the wire.
pub(crate) fn reason_name(reason: i32) -> &'static str {
    match arbiter::Reason::try_from(reason) {
        Ok(arbiter::Reason::Purchase) => "purchase",
        Ok(arbiter::Reason::Gift) => "gift",
        Ok(arbiter::Reason::Refund) => "refund",
        Ok(arbiter::Reason::Chargeback) => "chargeback",
        Ok(arbiter::Reason::Promotion) => "promotion",
        Ok(arbiter::Reason::Migration) => "migration",
        Ok(arbiter::Reason::Expiry) => "expiry",
        Ok(arbiter::Reason::Administration) => "administration",
        Ok(arbiter::Reason::Unspecified) | Err(_) => "unknown",
    }
}

/// What to do with a change that finds nothing to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnNothingToDo {
    /// The whole request is refused.
    Refuse,
    /// That game is left as it is, and the others are changed.
    Skip,
}
