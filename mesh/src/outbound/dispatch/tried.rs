//! Who was tried for a call, and what came of it: for the trace, and for the caller as metadata of the answer.

use http::HeaderValue;
use opentelemetry::KeyValue;
use tonic::metadata::MetadataValue;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::instance::Instance;
use crate::version::Version;

/// What was tried so far, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    text: String,
}

impl Tried {
    /// An instance was asked.
    pub(super) fn asked(&mut self, instance: &Instance, version: &Version, what: &str) {
        self.add(&format!("{}@{version}={what}", instance.address.authority()));
    }

    /// Something else was tried, or held the next try up.
    pub(super) fn add(&mut self, what: &str) {
        if !self.text.is_empty() {
            self.text.push_str(", ");
        }
        self.text.push_str(what);
    }

    /// Tells the span of the call of a try that was not the last one.
    pub(super) fn note(&self, number: u32, why: &'static str) {
        let span = Span::current();
        if span.is_disabled() {
            return;
        }
        let attributes = vec![
            KeyValue::new("mesh.attempt", i64::from(number)),
            KeyValue::new("mesh.why", why),
            KeyValue::new("mesh.tried", self.text.clone()),
        ];
        span.add_event("fallback", attributes);
    }

    pub(super) fn header(&self) -> HeaderValue {
        // Addresses, versions and codes: all of them may stand in a header.
        HeaderValue::from_str(&self.text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    pub(super) fn metadata(&self) -> MetadataValue<tonic::metadata::Ascii> {
        self.text.parse().unwrap_or_else(|_| MetadataValue::from_static(""))
    }
}
