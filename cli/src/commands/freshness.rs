//! How fresh an answer must be, and how fresh it was.

use std::time::Duration;

use clap::{Args, ValueEnum};
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Any, Freshness, Provenance, Source, Strong};
use serde::Serialize;

/// How fresh an answer must be, by its age or by a token.
#[derive(Args, Debug)]
pub(crate) struct Bounds {
    /// The answer may be at most this old, in milliseconds
    #[arg(long, value_name = "N", conflicts_with_all = ["freshness", "token"])]
    at_most_ms: Option<u32>,
    /// The answer must be at least as fresh as the write or answer that returned this token
    #[arg(long, conflicts_with = "freshness")]
    token: Option<String>,
}

impl Bounds {
    /// What they ask for; nothing when neither was given.
    pub(super) fn requirement(&self) -> Option<Requirement> {
        let of_token = self.token.clone().map(Requirement::AtLeastAsFreshAs);
        of_token.or_else(|| Some(Requirement::AtMostOld(milliseconds(self.at_most_ms?))))
    }
}

fn milliseconds(milliseconds: u32) -> prost_types::Duration {
    prost_types::Duration {
        seconds: (milliseconds / 1000).into(),
        // Less than a second's nanoseconds, so it fits.
        nanos: i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or(0),
    }
}

/// What every command has that asks the arbiter.
#[derive(Args, Debug)]
pub(crate) struct ReadOptions {
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t = Wanted::Strong)]
    freshness: Wanted,
    #[command(flatten)]
    bounds: Bounds,
}

/// How fresh an answer of the arbiter must be, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Sees every write that was acknowledged before
    Strong,
    /// Whatever answers first
    Any,
}

impl ReadOptions {
    /// The same as it goes over the wire.
    pub(super) fn freshness(&self) -> Freshness {
        let requirement = self.bounds.requirement().unwrap_or(match self.freshness {
            Wanted::Strong => Requirement::Strong(Strong {}),
            Wanted::Any => Requirement::Any(Any {}),
        });
        Freshness { requirement: Some(requirement) }
    }
}

/// How fresh an answer was, and where it came from.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) revision: u64,
    pub(super) token: String,
    pub(super) age_ms: Option<u64>,
    source: &'static str,
    pub(super) degraded: bool,
}

impl From<Provenance> for Shown {
    fn from(provenance: Provenance) -> Self {
        Self {
            revision: provenance.revision,
            age_ms: age_ms(&provenance),
            source: source_name(&provenance),
            degraded: provenance.degraded,
            token: provenance.token,
        }
    }
}

impl Shown {
    /// `at revision 9, from the arbiter`, and a line of its own for an answer that is degraded.
    pub(super) fn in_words(&self) -> String {
        format!("at {}", self.revision_in_words())
    }

    /// The same for what was asked for as of a revision.
    pub(super) fn as_of_in_words(&self) -> String {
        format!("as of {}", self.revision_in_words())
    }

    fn revision_in_words(&self) -> String {
        let age = self
            .age_ms
            .map_or_else(|| "of unknown age".to_owned(), |age_ms| format!("at most {age_ms} ms old"));
        let from = match self.source {
            "local_copy" => format!("from game-list's copy, {age}"),
            "follower" => format!("from a follower of the arbiter, {age}"),
            _ => "from the arbiter".to_owned(),
        };
        let degraded = "degraded: the arbiter cannot be reached, so later changes may be missing\n";
        let degraded = if self.degraded { degraded } else { "" };
        format!("revision {}, {from}\n{degraded}", self.revision)
    }
}

/// The age, rounded up since it is an upper bound; none where the copy never heard from the arbiter.
fn age_ms(provenance: &Provenance) -> Option<u64> {
    let age = Duration::try_from(provenance.age?).unwrap_or_default();
    Some(u64::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

fn source_name(provenance: &Provenance) -> &'static str {
    match provenance.source() {
        Source::Arbiter => "arbiter",
        Source::Follower => "follower",
        Source::LocalCopy => "local_copy",
        Source::Unspecified => "unknown",
    }
}
