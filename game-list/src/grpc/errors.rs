//! Every error of the service as it goes to the wire: the one table.

use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use tonic::Status;

use crate::hub::TooMany;
use crate::list::ListError;
use crate::watch::WatchError;

/// When a freshness that cannot be had now is worth another try.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) fn watch(error: &WatchError) -> Status {
    match error {
        WatchError::List(cause) => list(cause),
        WatchError::TooMany(TooMany { limit }) => {
            ErrorBuilder::new(Reason::TooManyWatchers, error.to_string())
                .with("limit", limit)
                .retry_after(RETRY_AFTER)
                .build()
        }
        WatchError::TooManyGames { limit } => ErrorBuilder::new(Reason::InvalidFields, error.to_string())
            .with("fields", "customer_id")
            .with("limit", limit)
            .bad_field("customer_id", error)
            .build(),
        WatchError::SlowReader { queue, limit_ms } => {
            ErrorBuilder::new(Reason::SlowReader, error.to_string())
                .with("queue", queue)
                .with("limit_ms", limit_ms)
                .build()
        }
        WatchError::Stopping => {
            ErrorBuilder::new(Reason::ShuttingDown, error.to_string()).retry_after(RETRY_AFTER).build()
        }
    }
}

pub(super) fn list(error: &ListError) -> Status {
    match error {
        ListError::FreshnessUnavailable { requirement, seen, copy } => {
            let mut builder = ErrorBuilder::new(Reason::FreshnessUnavailable, error.to_string())
                .with("requirement", requirement.as_str())
                .retry_after(RETRY_AFTER);
            if let Some(seen) = seen {
                builder = builder.with("seen_revision", seen.revision);
            }
            if let Some(copy) = copy {
                builder = builder.with("copy_revision", copy.token.revision).with("copy_token", copy.token);
                if let Some(age) = copy.age {
                    builder = builder.with("copy_age_ms", age.as_millis());
                }
            }
            builder.build()
        }
        ListError::TokenForeign => ErrorBuilder::new(Reason::TokenForeign, error.to_string()).build(),
        ListError::RevisionUnknown => ErrorBuilder::new(Reason::RevisionUnknown, error.to_string()).build(),
        ListError::PageGone => ErrorBuilder::new(Reason::InvalidFields, error.to_string())
            .with("fields", "page_token")
            .bad_field(
                "page_token",
                "page_token is of a list that is no longer there; begin with the first page",
            )
            .build(),
        ListError::Store(cause) => {
            tracing::error!(error = %cause, "the copy was not read");
            ErrorBuilder::new(Reason::StoreUnavailable, "the copy cannot be read")
                .retry_after(RETRY_AFTER)
                .build()
        }
        ListError::Arbiter => ErrorBuilder::new(Reason::Internal, error.to_string()).build(),
    }
}
