//! Every error of the service as it goes to the wire: the one table.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::store::{StoreError, WriteError};

/// The domain of the reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "tickets";

fn error(code: Code, reason: &str, message: &str, metadata: &[(&str, String)]) -> Status {
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}

/// A database that cannot be used. What the driver says stands in the log alone.
pub(super) fn store(cause: &StoreError) -> Status {
    tracing::warn!(error = %cause, "a request failed at the database");
    error(Code::Unavailable, "STORE_UNAVAILABLE", "the tickets cannot be read or written now", &[])
}

pub(super) fn write(cause: &WriteError, request_id: &str, ticket_id: u64) -> Status {
    match cause {
        WriteError::Store(cause) => store(cause),
        WriteError::TicketUnknown => ticket_unknown(ticket_id),
        WriteError::Reused => error(
            Code::FailedPrecondition,
            "REQUEST_ID_REUSED",
            "the request id was used for another request",
            &[("request_id", request_id.to_owned())],
        ),
    }
}

pub(super) fn ticket_unknown(ticket_id: u64) -> Status {
    let message = format!("there is no ticket {ticket_id}");
    error(Code::NotFound, "TICKET_UNKNOWN", &message, &[("ticket_id", ticket_id.to_string())])
}

pub(super) fn position_unknown(position: u64, newest: u64) -> Status {
    let message = format!("there is no reply at {position} yet, the newest is at {newest}");
    let metadata = [("position", position.to_string()), ("newest_position", newest.to_string())];
    error(Code::OutOfRange, "POSITION_UNKNOWN", &message, &metadata)
}

pub(super) fn too_many_subscriptions(limit: u32) -> Status {
    let message = format!("{limit} subscriptions are open, which is the limit of this instance");
    error(Code::Unavailable, "TOO_MANY_SUBSCRIPTIONS", &message, &[("limit", limit.to_string())])
}

pub(super) fn slow_subscriber(limit_ms: u128) -> Status {
    let message =
        format!("no reply was taken for {limit_ms} ms, which is the limit; go on after the last position");
    error(Code::ResourceExhausted, "SLOW_SUBSCRIBER", &message, &[("limit_ms", limit_ms.to_string())])
}

pub(super) fn stopping() -> Status {
    error(
        Code::Unavailable,
        "STOPPING",
        "this instance is stopping; go on after the last position elsewhere",
        &[],
    )
}

/// What is wrong with the fields of a request, each named.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(super) fn wrong(&mut self, field: &'static str, must: impl Into<String>) {
        self.0.push((field, must.into()));
    }

    /// The refusal, where a field is wrong.
    pub(super) fn check(self) -> Result<(), Status> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.0.iter().map(|(field, _)| *field).collect();
        let names = names.join(",");
        let message = format!("wrong fields: {names}");
        let mut details = ErrorDetails::with_error_info(
            "INVALID_FIELDS",
            DOMAIN,
            HashMap::from([("fields".to_owned(), names)]),
        );
        for (field, must) in self.0 {
            details.add_bad_request_violation(field, format!("{field} {must}"));
        }
        Err(Status::with_error_details(Code::InvalidArgument, message, details))
    }
}
