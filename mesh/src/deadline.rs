//! The deadline of the request being served. The inbound stack sets it, the outbound stack takes it: so a call made
//! on behalf of a request never outlives the request, hop by hop.
//!
//! It is kept in a task-local: a task that is spawned does not have it, unless it is carried over with [`scope`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::causal::Causal;
use crate::seen::{Edge, Made};

/// The header of gRPC that says how long the caller waits.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What a request being served carries along to the calls made for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestContext {
    pub(crate) deadline: Option<Instant>,
    /// The caller's trace context as it came, for when this process records no spans of its own.
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) tracestate: Option<HeaderValue>,
    /// What the caller has seen, and what is seen for it. A task to which the request is carried over shares it.
    pub(crate) causal: Arc<Causal>,
    /// The calls made for it.
    pub(crate) made: Made,
}

tokio::task_local! {
    pub(crate) static REQUEST: RequestContext;
}

/// The deadline of the request that the current task serves, or none.
#[must_use]
pub fn current() -> Option<Instant> {
    REQUEST.try_with(|request| request.deadline).ok().flatten()
}

/// How much time is left of [`current`]; zero once it has passed.
#[must_use]
pub fn remaining() -> Option<Duration> {
    current().map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Counts a call that is made now; whether it is made in serving a request.
pub(crate) fn count_call(edge: &Arc<Edge>) -> bool {
    REQUEST.try_with(|request| request.made.count(edge)).unwrap_or(false)
}

/// Runs a future under a deadline: every outbound call within it ends by then. It does not end the future itself.
pub async fn scope<F: Future>(deadline: Option<Instant>, future: F) -> F::Output {
    let request = REQUEST.try_with(Clone::clone).unwrap_or_default();
    REQUEST.scope(RequestContext { deadline, ..request }, future).await
}

/// Reads `grpc-timeout`; a value that is not of the format counts as none, as gRPC implementations do.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The format allows at most 8 digits, so that none of the products overflows.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// Writes `grpc-timeout`: rounded down, so that no hop believes it has more time than its caller gives, and at most
/// 8 digits.
pub(crate) fn timeout_value(timeout: Duration) -> HeaderValue {
    let text = [(timeout.as_micros(), 'u'), (timeout.as_millis(), 'm'), (u128::from(timeout.as_secs()), 'S')]
        .into_iter()
        .find(|(value, _)| *value <= 99_999_999)
        .map_or_else(|| "99999999S".to_owned(), |(value, unit)| format!("{value}{unit}"));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(text).ok()?);
        timeout_of(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        assert_eq!(read("42S"), Some(Duration::from_secs(42)));
        assert_eq!(read("13m"), Some(Duration::from_millis(13)));
        assert_eq!(read("2u"), Some(Duration::from_micros(2)));
        assert_eq!(read("82n"), Some(Duration::from_nanos(82)));
    }

    #[test]
    fn another_format_counts_as_none() {
        for text in ["", "S", "5", "5x", "+5S", "-1S", "123456789S", "1.5S", "5 S"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_timeout_is_read_back_no_longer(micros in 0u64..u64::MAX / 4) {
            let timeout = Duration::from_micros(micros);
            let text = timeout_value(timeout);
            let read = read(text.to_str().unwrap()).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(timeout.saturating_sub(read) < Duration::from_secs(1) || read.as_secs() == 99_999_999);
        }

        #[test]
        fn any_header_is_read_without_a_panic(text in "\\PC*") {
            let _ = read(&text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_gives_what_is_left() {
        assert_eq!(remaining(), None);
        let deadline = Instant::now() + Duration::from_secs(5);
        scope(Some(deadline), async {
            tokio::time::advance(Duration::from_secs(2)).await;
            assert_eq!(remaining(), Some(Duration::from_secs(3)));
            tokio::time::advance(Duration::from_secs(9)).await;
            assert_eq!(remaining(), Some(Duration::ZERO));
        })
        .await;
    }
}
