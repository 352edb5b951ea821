//! Who was tried for a call, and what came of it: for the trace, and for the caller as metadata of the answer.

use std::sync::Arc;

use http::HeaderValue;
use opentelemetry::KeyValue;
use tonic::metadata::MetadataValue;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::instance::Instance;
use crate::version::Version;

/// What was tried so far, in order.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// The first instance that was asked, for as long as nothing else was tried: mostly nothing more is to be told.
    first: Option<(Arc<Instance>, Version, &'static str)>,
    text: String,
}

impl Tried {
    /// An instance was asked.
    pub(super) fn asked(&mut self, instance: &Arc<Instance>, version: &Version, what: &'static str) {
        if self.first.is_none() && self.text.is_empty() {
            self.first = Some((instance.clone(), version.clone(), what));
            return;
        }
        self.add(&entry(instance, version, what));
    }

    /// Something else was tried, or held the next try up.
    pub(super) fn add(&mut self, what: &str) {
        self.spell_out();
        if !self.text.is_empty() {
            self.text.push_str(", ");
        }
        self.text.push_str(what);
    }

    fn spell_out(&mut self) {
        if let Some((instance, version, what)) = self.first.take() {
            self.text = entry(&instance, &version, what);
        }
    }

    /// Tells the span of the call of a try that was not the last one.
    pub(super) fn note(&mut self, number: u32, why: &'static str) {
        let span = Span::current();
        if span.is_disabled() {
            return;
        }
        self.spell_out();
        let attributes = vec![
            KeyValue::new("mesh.attempt", i64::from(number)),
            KeyValue::new("mesh.why", why),
            KeyValue::new("mesh.tried", self.text.clone()),
        ];
        span.add_event("fallback", attributes);
    }

    pub(super) fn header(mut self) -> HeaderValue {
        if let Some((instance, version, OK)) = &self.first {
            return instance.answered(version, || value(&entry(instance, version, OK)));
        }
        self.spell_out();
        value(&self.text)
    }

    pub(super) fn metadata(mut self) -> MetadataValue<tonic::metadata::Ascii> {
        self.spell_out();
        self.text.parse().unwrap_or_else(|_| MetadataValue::from_static(""))
    }
}

/// The name of the outcome that most calls have.
const OK: &str = "OK";

fn entry(instance: &Instance, version: &Version, what: &str) -> String {
    format!("{}@{version}={what}", instance.address.authority())
}

fn value(text: &str) -> HeaderValue {
    // Addresses, versions and codes: all of them may stand in a header.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
