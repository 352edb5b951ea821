//! The one way to build an error for the wire, and to read one back.
//!
//! Every error carries `google.rpc.ErrorInfo` with the [`DOMAIN`], a [`Reason`] and every dynamic value as metadata,
//! so that a program never has to read the message.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every [`Reason`] in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "gameshelf";

/// By which gRPC's retry design (A6) tells when to come again.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The most items, such as wrong fields, that one error names.
pub const NAMED_MAX: usize = 32;
/// The most bytes that they take in its details. These travel in a header, of which many clients take 8 KiB with all others, and
/// are a third longer there.
const NAMED_BYTES: usize = 4 << 10;
/// The most items that the message for people names; the details name the others.
const NAMED_IN_MESSAGE: usize = 3;

macro_rules! reasons {
    ($($(#[doc = $documentation:literal])+ $name:ident = $text:literal, $code:ident;)+) => {
        /// Why a call failed. The reason determines the gRPC code: this is the one table of both.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $documentation])+ $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The reason as it stands in `google.rpc.ErrorInfo`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The gRPC code that goes with the reason.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)+ }
            }
        }
    };
}

reasons! {
    /// One or more fields of the request are wrong; `BadRequest` names each.
    InvalidFields = "INVALID_FIELDS", InvalidArgument;
    /// The request id stands for a request with other content.
    RequestIdReused = "REQUEST_ID_REUSED", InvalidArgument;
    /// The customer owns the game already.
    AlreadyOwned = "ALREADY_OWNED", FailedPrecondition;
    /// The customer does not own the game.
    NotOwned = "NOT_OWNED", FailedPrecondition;
    /// The request id is older than outcomes are kept.
    RequestIdExpired = "REQUEST_ID_EXPIRED", FailedPrecondition;
    /// What the customer owns changed after the revision that the request relies on.
    ChangedSince = "CHANGED_SINCE", FailedPrecondition;
    /// No copy of the limited edition is left.
    OutOfStock = "OUT_OF_STOCK", FailedPrecondition;
    /// The time at which the ownership should end is past.
    EndTimePassed = "END_TIME_PASSED", FailedPrecondition;
    /// The customer has an open reservation of the game already.
    AlreadyReserved = "ALREADY_RESERVED", FailedPrecondition;
    /// The customer has as many open reservations as there may be.
    ReservationLimit = "RESERVATION_LIMIT", FailedPrecondition;
    /// There is no such reservation.
    ReservationUnknown = "RESERVATION_UNKNOWN", NotFound;
    /// The reservation was confirmed or released already.
    ReservationClosed = "RESERVATION_CLOSED", FailedPrecondition;
    /// The time of the reservation ran out.
    ReservationExpired = "RESERVATION_EXPIRED", FailedPrecondition;
    /// More copies are sold and reserved than there would be.
    StockBelowSold = "STOCK_BELOW_SOLD", FailedPrecondition;
    /// There are as many limited editions as there may be.
    StockLimit = "STOCK_LIMIT", FailedPrecondition;
    /// The game is not a limited edition.
    StockUnknown = "STOCK_UNKNOWN", NotFound;
    /// The token was made by another store.
    TokenForeign = "TOKEN_FOREIGN", FailedPrecondition;
    /// The token is from beyond what this incarnation of the store knows.
    RevisionUnknown = "REVISION_UNKNOWN", FailedPrecondition;
    /// Commits after the token are no longer kept.
    RevisionCompacted = "REVISION_COMPACTED", OutOfRange;
    /// The reader of a stream was too slow; it can resume by its last token.
    SlowReader = "SLOW_READER", ResourceExhausted;
    /// As many streams are open as the service allows.
    TooManyWatchers = "TOO_MANY_WATCHERS", Unavailable;
    /// As many copies are known as the service allows.
    TooManyCopies = "TOO_MANY_COPIES", ResourceExhausted;
    /// The queue of writes is full; nothing was enqueued.
    QueueFull = "QUEUE_FULL", Unavailable;
    /// The store cannot be reached; nothing was written.
    StoreUnavailable = "STORE_UNAVAILABLE", Unavailable;
    /// Whether the request was committed is not known; the same request id settles it.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable;
    /// Another arbiter took over; nothing was written.
    NotLeader = "NOT_LEADER", Unavailable;
    /// The service is stopping; nothing was done.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// The freshness that was asked for cannot be had now.
    FreshnessUnavailable = "FRESHNESS_UNAVAILABLE", Unavailable;
    /// The catalogue has no such game.
    GameUnknown = "GAME_UNKNOWN", FailedPrecondition;
    /// The game is no longer sold.
    GameDelisted = "GAME_DELISTED", FailedPrecondition;
    /// The price is not the one that the buyer was shown.
    PriceChanged = "PRICE_CHANGED", FailedPrecondition;
    /// The payment provider declined the payment.
    PaymentDeclined = "PAYMENT_DECLINED", FailedPrecondition;
    /// The catalogue is another one than that of the pages before; the caller begins again with the first page.
    CatalogChanged = "CATALOG_CHANGED", FailedPrecondition;
    /// There is no such order.
    OrderUnknown = "ORDER_UNKNOWN", NotFound;
    /// There is no such payment.
    PaymentUnknown = "PAYMENT_UNKNOWN", NotFound;
    /// The payment is in a state in which this cannot be done.
    PaymentState = "PAYMENT_STATE", FailedPrecondition;
    /// A defect of the service; its log says more.
    Internal = "INTERNAL", Internal;
}

impl Reason {
    /// Whether whoever refuses is well: it has no room, or not the role, or nothing as fresh, for a while. Callers that stop calling
    /// what fails must not stop for that.
    fn says_only_not_now(self) -> bool {
        matches!(self, Self::QueueFull | Self::TooManyWatchers | Self::NotLeader | Self::FreshnessUnavailable)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An error on its way to the wire.
#[derive(Debug)]
pub struct ErrorBuilder {
    reason: Reason,
    retry_after: Option<Duration>,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl ErrorBuilder {
    /// An error with a message for people.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            retry_after: None,
            message: message.into(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
        }
    }

    /// Adds a value to the metadata of `ErrorInfo`. Keys are lowerCamelCase or `snake_case`, and at most 64 bytes.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Says when a retry is worth while: in `RetryInfo`, and where the refusal says no more than that it is not now, also by
    /// gRPC's own means, which every client understands.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self.retry_after = Some(delay);
        self
    }

    /// Adds a field to `BadRequest`.
    #[must_use]
    pub fn bad_field(mut self, field: &str, description: impl fmt::Display) -> Self {
        self.details.add_bad_request_violation(field, description.to_string());
        self
    }

    /// Adds a precondition that failed to `PreconditionFailure`.
    #[must_use]
    pub fn failed_precondition(mut self, kind: &str, subject: &str, description: &str) -> Self {
        self.details.add_precondition_failure_violation(kind, subject, description);
        self
    }

    /// The error as a gRPC status.
    #[must_use]
    pub fn build(mut self) -> Status {
        self.details.set_error_info(self.reason.as_str(), DOMAIN, self.metadata);
        let mut status = Status::with_error_details(self.reason.code(), self.message, self.details);
        if let Some(delay) = self.retry_after.filter(|_| self.reason.says_only_not_now()) {
            // Its format has 32 bits with a sign, where a negative number means never.
            let delay_ms = i32::try_from(delay.as_millis()).unwrap_or(i32::MAX);
            status.metadata_mut().insert(PUSHBACK, MetadataValue::from(delay_ms));
        }
        status
    }
}

/// The room for items that one error names: [`NAMED_MAX`] of them, and fewer where their names are long.
#[derive(Debug, Default)]
pub struct Room {
    items: usize,
    bytes: usize,
    /// Once an item has no place the ones after it have none either, so that those that are named are the first.
    is_full: bool,
}

impl Room {
    /// Takes the place of the next item, whose texts have so many bytes all together, where there is one. The first item always has.
    pub fn take(&mut self, bytes: usize) -> bool {
        let fits = self.items < NAMED_MAX && self.bytes + bytes <= NAMED_BYTES;
        self.is_full |= !fits && self.items > 0;
        if !self.is_full {
            self.items += 1;
            self.bytes += bytes;
        }
        !self.is_full
    }
}

/// The first names of so many, for the message of an error.
#[must_use]
pub fn first_of(names: &[&str], number: usize) -> String {
    let first = names.get(..NAMED_IN_MESSAGE).unwrap_or(names);
    let list = first.join(", ");
    match number.saturating_sub(first.len()) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

/// The reason that a status carries, or none when it is not one of ours.
#[must_use]
pub fn reason_of(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == info.reason)
}

/// A value of the metadata of a status' `ErrorInfo`.
#[must_use]
pub fn metadata_of(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.remove(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_back() {
        for reason in Reason::ALL {
            let status = ErrorBuilder::new(*reason, "no").with("revision", 7).build();
            assert_eq!(status.code(), reason.code());
            assert_eq!(reason_of(&status), Some(*reason));
            assert_eq!(metadata_of(&status, "revision").as_deref(), Some("7"));
        }
    }

    #[test]
    fn an_error_names_the_first_items_that_there_is_room_for() {
        let named = |sizes: &[usize]| {
            let mut room = Room::default();
            sizes.iter().filter(|bytes| room.take(**bytes)).count()
        };
        assert_eq!(named(&[100; 40]), NAMED_MAX);
        assert_eq!(named(&[NAMED_BYTES / 4; 40]), 4);
        assert_eq!(named(&[10, NAMED_BYTES, 10]), 1, "none that comes later is named instead");
        assert_eq!(named(&[NAMED_BYTES * 2, 10]), 1, "the first always is");
        assert_eq!(first_of(&["a", "b", "c", "d"], 9), "a, b, c and 6 more");
        assert_eq!(first_of(&["a", "b"], 2), "a, b");
    }

    #[test]
    fn a_refusal_that_says_only_not_now_says_when_by_the_means_of_grpc_too() {
        for reason in Reason::ALL {
            let status = ErrorBuilder::new(*reason, "no").retry_after(Duration::from_millis(50)).build();
            assert!(status.get_details_retry_info().is_some());
            let pushback =
                status.metadata().get("grpc-retry-pushback-ms").map(|value| value.to_str().unwrap());
            assert_eq!(pushback, reason.says_only_not_now().then_some("50"), "{reason}");
            let without = ErrorBuilder::new(*reason, "no").build();
            assert!(!without.metadata().contains_key("grpc-retry-pushback-ms"), "{reason}");
        }
        let long = ErrorBuilder::new(Reason::QueueFull, "no").retry_after(Duration::MAX).build();
        assert_eq!(long.metadata().get("grpc-retry-pushback-ms").unwrap(), "2147483647");
    }

    #[test]
    fn an_error_of_another_domain_has_no_reason_of_ours() {
        let details = ErrorDetails::with_error_info("INTERNAL", "elsewhere", HashMap::new());
        assert_eq!(reason_of(&Status::with_error_details(Code::Internal, "no", details)), None);
        assert_eq!(reason_of(&Status::internal("no")), None);
    }
}
