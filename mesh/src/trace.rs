//! The W3C trace context where no call carries it: stored with work, so that the work resumed after a restart
//! belongs to the trace in which it began.

use std::collections::HashMap;

use http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, global};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::deadline::REQUEST;
use crate::sampling;

pub(crate) const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The `traceparent` of the current span, or of the request being served when this process records no spans; none
/// outside of any trace.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current().context()).or_else(|| {
        let header = REQUEST.try_with(|request| request.traceparent.clone()).ok()??;
        header.to_str().ok().map(str::to_owned)
    })
}

/// Writes the current span's context into the headers of a call; where this process records no spans, the context of
/// the request being served passes through unchanged.
pub(crate) fn inject(headers: &mut HeaderMap) {
    let span = Span::current();
    if !span.is_disabled() {
        let context = span.context();
        if context.span().span_context().is_valid() {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(&context, &mut HeaderInjector(headers));
            });
            return;
        }
    }
    // Outside of any request there is nothing to pass on.
    let _ = REQUEST.try_with(|request| {
        for (name, value) in [(TRACEPARENT, &request.traceparent), (TRACESTATE, &request.tracestate)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    });
}

/// The `traceparent` of a context; none when it has no valid span.
#[must_use]
pub fn traceparent_of(context: &Context) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// The context that a stored `traceparent` stands for; without a span when it is not of the format. Give it to a new
/// span with [`set_parent`].
#[must_use]
pub fn parent_from(traceparent: &str) -> Context {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

/// Makes a span in the trace of a stored `traceparent`, recorded where that one is; where it is not of the format, one
/// that begins a trace.
pub fn child_of(traceparent: &str, make: impl FnOnce() -> Span) -> Span {
    let span = sampling::decided(sampling::sampled_flag(traceparent), make);
    set_parent(&span, parent_from(traceparent));
    span
}

/// Makes a span that is recorded whatever the share of traces is: it is about requests that are.
pub fn recorded(make: impl FnOnce() -> Span) -> Span {
    sampling::decided(Some(true), make)
}

/// Makes a span within the current one, and none where that is not recorded.
pub fn within(make: impl FnOnce() -> Span) -> Span {
    if Span::current().is_disabled() { Span::none() } else { make() }
}

/// Makes a span that has not been entered yet a child of another process' span (see [`parent_from`]).
pub fn set_parent(span: &Span, parent: Context) {
    if parent.span().span_context().is_valid() {
        // A span that is not recorded has no parent to set, and nobody to whom that would matter.
        let _ = span.set_parent(parent);
    }
}

/// Links a span with another one that caused it or worked for it, in another trace perhaps.
pub fn link(span: &Span, other: &Span) {
    let context = other.context();
    let other = context.span().span_context().clone();
    if other.is_valid() {
        span.add_link(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_context_is_read_back() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent_of(&parent_from(text)).as_deref(), Some(text));
    }

    #[test]
    fn what_is_not_of_the_format_is_no_context() {
        for text in ["", "00", "00-0-0-01", "zz-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            assert_eq!(traceparent_of(&parent_from(text)), None, "{text:?}");
        }
    }

    #[test]
    fn outside_of_a_trace_there_is_none() {
        assert_eq!(current_traceparent(), None);
    }
}
