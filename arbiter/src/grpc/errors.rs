//! The one table of errors: what each becomes on the wire. No text of a driver and no path leaves the service.

use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use tonic::Status;

pub(super) use super::refusals::{Refused, refused};
use super::requests::Items;
use crate::copies::TooManyCopies;
use crate::domain::Revision;
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

/// `items` is how the request names what it asks for.
pub(super) fn submit(error: &SubmitError, items: Items) -> Status {
    let builder = |reason| ErrorBuilder::new(reason, error.to_string());
    match error {
        SubmitError::QueueFull { limit_requests } => {
            builder(Reason::QueueFull).with("limit_requests", limit_requests).retry_after(RETRY_QUEUE)
        }
        SubmitError::QueueFullBytes { limit_bytes } => {
            builder(Reason::QueueFull).with("limit_bytes", limit_bytes).retry_after(RETRY_QUEUE)
        }
        SubmitError::TooLarge { bytes, limit_bytes } => {
            let told = format!("{} is more than the queue ever holds: {error}", items.field());
            builder(Reason::InvalidFields)
                .with("fields", items.field())
                .with("bytes", bytes)
                .with("limit_bytes", limit_bytes)
                .bad_field(items.field(), told)
        }
        SubmitError::RequestIdReused => {
            builder(Reason::RequestIdReused).bad_field("request_id", "request_id stands for other content")
        }
        SubmitError::RequestIdExpired { retention_ms } => {
            builder(Reason::RequestIdExpired).with("retention_ms", retention_ms)
        }
        SubmitError::RequestIdAhead { limit_ms } => {
            let told = format!(
                "request_id is a version 7 UUID from more than {limit_ms} ms ahead of the arbiter's clock"
            );
            builder(Reason::InvalidFields)
                .with("fields", "request_id")
                .with("limit_ms", limit_ms)
                .bad_field("request_id", told)
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
        WatchError::Compacted { after, oldest } => builder(Reason::RevisionCompacted)
            .with("revision", after)
            .with("oldest_resumable_revision", oldest)
            .build(),
        WatchError::Draining => builder(Reason::ShuttingDown).retry_after(RETRY_RECOVERY).build(),
        WatchError::Store(error) => store(error),
    }
}

/// A message for which there was no room, which is a defect.
pub(super) fn encoding(error: &prost::EncodeError) -> Status {
    tracing::error!(%error, "a message could not be written");
    ErrorBuilder::new(Reason::Internal, "the message could not be written; the arbiter's log says more")
        .build()
}

/// As many imports run as may.
pub(super) fn too_many_imports(limit: usize) -> Status {
    ErrorBuilder::new(Reason::QueueFull, format!("at most {limit} imports may run at once, and so many do"))
        .with("limit_imports", limit)
        .retry_after(RETRY_RECOVERY)
        .build()
}

/// The arbiter ends, and a stream with it.
pub(super) fn draining() -> Status {
    ErrorBuilder::new(Reason::ShuttingDown, "the arbiter is stopping; what is not answered may be sent again")
        .retry_after(RETRY_RECOVERY)
        .build()
}

/// As many copies are known as may be.
pub(super) fn too_many_copies(error: TooManyCopies) -> Status {
    ErrorBuilder::new(Reason::TooManyCopies, error.to_string()).with("limit", error.limit).build()
}

/// A revision that was asked for is beyond the newest one.
pub(super) fn revision_unknown(revision: Revision, head: Revision) -> Status {
    ErrorBuilder::new(
        Reason::RevisionUnknown,
        format!("revision {revision} is beyond the newest one, {head}"),
    )
    .with("revision", revision)
    .with("head", head)
    .build()
}

/// This arbiter can no longer prove that it is the one that writes.
pub(super) fn lease_over() -> Status {
    let told = "this arbiter cannot prove that it still leads; a strong read would perhaps be stale";
    ErrorBuilder::new(Reason::NotLeader, told).retry_after(RETRY_RECOVERY).build()
}

/// What this arbiter has is older than asked for.
pub(super) fn too_old(age: Duration, limit: Duration) -> Status {
    let (age_ms, limit_ms) = (age.as_millis(), limit.as_millis());
    let told = format!("what there is may be {age_ms} ms old, and was asked to be at most {limit_ms} ms old");
    ErrorBuilder::new(Reason::FreshnessUnavailable, told)
        .with("age_ms", age_ms)
        .with("limit_ms", limit_ms)
        .retry_after(RETRY_RECOVERY)
        .build()
}

/// There is no such reservation, or none any more.
pub(super) fn reservation_unknown(reservation_id: impl std::fmt::Display) -> Status {
    ErrorBuilder::new(Reason::ReservationUnknown, format!("there is no reservation {reservation_id}"))
        .with("reservation_id", reservation_id)
        .build()
}

/// A game has no stock.
pub(super) fn stock_unknown(game_id: impl std::fmt::Display) -> Status {
    ErrorBuilder::new(Reason::StockUnknown, format!("{game_id} is not a limited edition"))
        .with("game_id", game_id)
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use gameshelf::errors::reason_of;
    use tonic::Code;
    use tonic_types::StatusExt;

    /// What a write that has no outcome is told: the code, the reason, the metadata, the field, and whether a retry is worth while.
    type Told = (Code, Option<Reason>, String, Option<String>, bool);

    fn told(error: &SubmitError) -> Told {
        let status = submit(error, Items::GameIds);
        let metadata: BTreeMap<_, _> =
            status.get_details_error_info().unwrap().metadata.into_iter().collect();
        let metadata: Vec<_> = metadata.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let fields = status.get_details_bad_request().map(|request| {
            let fields = request.field_violations.into_iter().map(|violation| violation.field);
            fields.collect::<Vec<_>>().join(",")
        });
        let is_retryable = status.get_details_retry_info().is_some();
        (status.code(), reason_of(&status), metadata.join(" "), fields, is_retryable)
    }

    #[test]
    fn a_write_without_an_outcome_is_told_why() {
        let bad = |reason, metadata: &str, field: &str| {
            (Code::InvalidArgument, Some(reason), metadata.to_owned(), Some(field.to_owned()), false)
        };
        let not_now =
            |reason, metadata: &str| (Code::Unavailable, Some(reason), metadata.to_owned(), None, true);
        for (error, expected) in [
            (SubmitError::QueueFull { limit_requests: 7 }, not_now(Reason::QueueFull, "limit_requests=7")),
            (SubmitError::QueueFullBytes { limit_bytes: 7 }, not_now(Reason::QueueFull, "limit_bytes=7")),
            (
                SubmitError::TooLarge { bytes: 9, limit_bytes: 7 },
                bad(Reason::InvalidFields, "bytes=9 fields=game_ids limit_bytes=7", "game_ids"),
            ),
            (SubmitError::RequestIdReused, bad(Reason::RequestIdReused, "", "request_id")),
            (
                SubmitError::RequestIdAhead { limit_ms: 7 },
                bad(Reason::InvalidFields, "fields=request_id limit_ms=7", "request_id"),
            ),
            (
                SubmitError::RequestIdExpired { retention_ms: 7 },
                (
                    Code::FailedPrecondition,
                    Some(Reason::RequestIdExpired),
                    "retention_ms=7".to_owned(),
                    None,
                    false,
                ),
            ),
            (SubmitError::StoreUnavailable, not_now(Reason::StoreUnavailable, "")),
            (SubmitError::OutcomeUnknown, not_now(Reason::OutcomeUnknown, "")),
            (SubmitError::NotLeader, not_now(Reason::NotLeader, "")),
            (SubmitError::Stopped, not_now(Reason::ShuttingDown, "")),
            (SubmitError::Defect, (Code::Internal, Some(Reason::Internal), String::new(), None, false)),
        ] {
            assert_eq!(told(&error), expected, "{error}");
        }
    }
}
