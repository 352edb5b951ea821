//! The one table of errors: what each becomes on the wire. No text of a driver and no path leaves the service.

use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use tonic::Status;

use crate::domain::{Command, CustomerId, GameId, RefusalKind};
use crate::sequencer::SubmitError;
use crate::store::StoreError;
use crate::watch::WatchError;

/// When to come back to a queue that is full: batches take milliseconds.
const RETRY_QUEUE: Duration = Duration::from_millis(50);
/// When to come back to something that has to recover first.
const RETRY_RECOVERY: Duration = Duration::from_millis(500);

/// Why a token cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenProblem {
    /// Another store made it.
    Foreign,
    /// It is from beyond what this incarnation knows.
    Unknown { revision: u64, head: u64 },
}

pub(super) fn token_problem(problem: TokenProblem) -> Status {
    match problem {
        TokenProblem::Foreign => {
            ErrorBuilder::new(Reason::TokenForeign, "the token was made by another store").build()
        }
        TokenProblem::Unknown { revision, head } => ErrorBuilder::new(
            Reason::RevisionUnknown,
            "the token is from beyond what this incarnation of the store knows",
        )
        .with("revision", revision)
        .with("head", head)
        .build(),
    }
}

/// The store is not open yet.
pub(super) fn not_open() -> Status {
    ErrorBuilder::new(Reason::StoreUnavailable, "the store is not open yet; nothing was done")
        .retry_after(RETRY_RECOVERY)
        .build()
}

pub(super) fn submit(error: &SubmitError) -> Status {
    let builder = |reason| ErrorBuilder::new(reason, error.to_string());
    match error {
        SubmitError::QueueFull { limit_requests } => {
            builder(Reason::QueueFull).with("limit_requests", limit_requests).retry_after(RETRY_QUEUE)
        }
        SubmitError::QueueFullBytes { limit_bytes } => {
            builder(Reason::QueueFull).with("limit_bytes", limit_bytes).retry_after(RETRY_QUEUE)
        }
        SubmitError::RequestIdReused => {
            builder(Reason::RequestIdReused).bad_field("request_id", "request_id stands for other content")
        }
        SubmitError::StoreUnavailable => builder(Reason::StoreUnavailable).retry_after(RETRY_RECOVERY),
        SubmitError::OutcomeUnknown => builder(Reason::OutcomeUnknown).retry_after(RETRY_RECOVERY),
        SubmitError::NotLeader => builder(Reason::NotLeader).retry_after(RETRY_RECOVERY),
        SubmitError::Stopped => builder(Reason::ShuttingDown).retry_after(RETRY_RECOVERY),
        SubmitError::Defect => builder(Reason::Internal),
    }
    .build()
}

pub(super) fn store(error: &StoreError) -> Status {
    if error.is_transient() {
        tracing::warn!(error = %error, "the store did not answer a read");
        ErrorBuilder::new(Reason::StoreUnavailable, "the store cannot be reached")
            .retry_after(RETRY_RECOVERY)
            .build()
    } else {
        tracing::error!(error = %error, "the store refused a read");
        ErrorBuilder::new(Reason::Internal, "the store could not answer; the arbiter's log says more").build()
    }
}

pub(super) fn watch(error: &WatchError) -> Status {
    let builder = |reason| ErrorBuilder::new(reason, error.to_string());
    match error {
        WatchError::TooMany { limit } => {
            builder(Reason::TooManyWatchers).with("limit", limit).retry_after(RETRY_RECOVERY).build()
        }
        WatchError::SlowReader { limit_ms } => builder(Reason::SlowReader).with("limit_ms", limit_ms).build(),
        WatchError::Draining => builder(Reason::ShuttingDown).retry_after(RETRY_RECOVERY).build(),
        WatchError::Store(error) => store(error),
    }
}

/// A refusal: what was judged of a command that cannot be done.
pub(super) struct Refused<'a> {
    pub(super) command: &'a Command,
    pub(super) items: &'a [(u32, RefusalKind)],
    pub(super) revision: u64,
    pub(super) token: String,
    pub(super) replayed: bool,
}

pub(super) fn refused(refused: &Refused<'_>) -> Status {
    let (customer_id, game_ids): (&CustomerId, &[GameId]) = match refused.command {
        Command::Grant(grant) => (&grant.customer_id, &grant.game_ids),
        Command::Revoke(revoke) => (&revoke.customer_id, &revoke.game_ids),
    };
    let reason = match refused.items.first() {
        Some((_, RefusalKind::NotOwned)) => Reason::NotOwned,
        _ => Reason::AlreadyOwned,
    };
    let named = |item: &(u32, RefusalKind)| game_ids.get(item.0 as usize).map(|game_id| (game_id, item.1));
    let named: Vec<(&GameId, RefusalKind)> = refused.items.iter().filter_map(named).collect();
    // The details travel in a header, which has a limit: the first few games are named, and the number of all told.
    let few = || named.iter().take(GAMES_NAMED);
    let games: Vec<&str> = few().map(|(game_id, _)| game_id.as_str()).collect();
    let what = match reason {
        Reason::NotOwned => "does not own",
        _ => "already owns",
    };
    let message = format!("customer {customer_id} {what} {}{}", games.join(", "), more(named.len()));
    let mut error = ErrorBuilder::new(reason, message)
        .with("customer_id", customer_id)
        .with("game_ids", games.join(","))
        .with("games", named.len())
        .with("revision", refused.revision)
        .with("token", &refused.token)
        .with("replayed", refused.replayed);
    for (game_id, kind) in few() {
        let (precondition, description) = match kind {
            RefusalKind::AlreadyOwned => ("NOT_OWNED", "the customer owns the game already"),
            RefusalKind::NotOwned => ("OWNED", "the customer does not own the game"),
        };
        let subject = format!("customers/{customer_id}/games/{game_id}");
        error = error.failed_precondition(precondition, &subject, description);
    }
    error.build()
}

/// The most games that a refusal names.
const GAMES_NAMED: usize = 8;

fn more(games: usize) -> String {
    if games > GAMES_NAMED { format!(" and {} more", games - GAMES_NAMED) } else { String::new() }
}
