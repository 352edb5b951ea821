//! What a person does: one module for each command.

pub(crate) mod buy;
mod change;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod copies;
pub(crate) mod export;
mod file;
mod freshness;
pub(crate) mod grant;
mod hints;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod list;
mod ownership;
mod patience;
mod progress;
pub(crate) mod reservation;
pub(crate) mod reserve;
pub(crate) mod revoke;
pub(crate) mod status;
pub(crate) mod stock;
mod time;
pub(crate) mod transfer;
pub(crate) mod watch;
pub(crate) mod why;

use clap::ValueEnum;
use gameshelf::proto::arbiter::v1 as arbiter;
use serde::Deserialize;

/// Why something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    Purchase,
    Gift,
    Refund,
    Chargeback,
    Promotion,
    Migration,
    Administration,
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
            Reason::Administration => Self::Administration,
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

/// `purchase by purchase`; who did it is left out where nobody said it.
pub(crate) fn cause_in_words(reason: &str, actor: &str) -> String {
    if actor.is_empty() { reason.to_owned() } else { format!("{reason} by {actor}") }
}

/// What to do with a change that finds nothing to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnNothingToDo {
    /// The whole request is refused.
    #[default]
    Refuse,
    /// That game is left as it is, and the others are changed.
    Skip,
}

impl From<OnNothingToDo> for arbiter::OnOwned {
    fn from(what: OnNothingToDo) -> Self {
        match what {
            OnNothingToDo::Refuse => Self::Refuse,
            OnNothingToDo::Skip => Self::Skip,
        }
    }
}

impl From<OnNothingToDo> for arbiter::OnNotOwned {
    fn from(what: OnNothingToDo) -> Self {
        match what {
            OnNothingToDo::Refuse => Self::Refuse,
            OnNothingToDo::Skip => Self::Skip,
        }
    }
}
