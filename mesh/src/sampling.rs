//! Which traces are recorded, decided before a span is made.
//!
//! A span that nobody will see costs as much as one that is exported, if the decision is left to the SDK: it is asked when
//! the span is there. So under the samplers `parentbased_always_on` (the default) and `parentbased_traceidratio` the layer that
//! makes OpenTelemetry spans is asked first, by a filter: a span within a recorded one is recorded, one in a request whose
//! trace is not recorded is not, and of those that begin a trace the configured share is.

use std::cell::Cell;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::trace::Sampler;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::deadline::REQUEST;
use crate::environment::Random;
use crate::trace::TRACEPARENT;

/// The share of traces that is recorded, in 2^64ths; not set where the SDK decides.
static SHARE: OnceLock<u64> = OnceLock::new();

/// Who looks at the spans of calls; not set where the subscriber was made elsewhere, a test's say: then they are all made.
static VIEWERS: OnceLock<Viewers> = OnceLock::new();

/// Who looks at the spans of calls in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewers {
    pub(crate) log: bool,
    pub(crate) traces: bool,
}

thread_local! {
    /// What was decided for the span that is being made.
    static DECIDED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Takes over the decision where the environment names a sampler that can be asked beforehand, and returns the SDK's part
/// of it: to follow.
pub(crate) fn take_over() -> Option<Sampler> {
    let value = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let share = match value("OTEL_TRACES_SAMPLER").as_deref().map(str::trim) {
        None | Some("parentbased_always_on") => u64::MAX,
        Some("parentbased_traceidratio") => {
            let ratio = value("OTEL_TRACES_SAMPLER_ARG").and_then(|text| text.trim().parse().ok());
            share_of(ratio.unwrap_or(1.0))
        }
        // What else there is decides by itself, span by span.
        Some(_) => return None,
    };
    // It is set once: a process has one telemetry.
    let _ = SHARE.set(share);
    Some(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is between 0 and 1")]
#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn share_of(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

/// Decides whether the trace of a request is recorded, as its caller says or by chance. A request without a trace that is not
/// recorded gets the context of one, so that the calls made for it are not recorded either. None where the SDK decides.
pub(crate) fn decide(headers: &mut HeaderMap, random: &dyn Random) -> Option<bool> {
    let share = *SHARE.get()?;
    if let Some(sampled) = headers.get(TRACEPARENT).and_then(is_sampled) {
        return Some(sampled);
    }
    let sampled = is_chosen(share, random);
    if !sampled {
        headers.insert(TRACEPARENT, unrecorded(random));
    }
    Some(sampled)
}

/// Says who looks at the spans of calls: those that nobody would see are not made. (A subscriber keeps a record of every span
/// that any of its layers might want, and a filter that refuses one comes too late for what that costs.)
pub(crate) fn seen_by(viewers: Viewers) {
    // It is set once: a process has one telemetry.
    let _ = VIEWERS.set(viewers);
}

fn is_seen(decision: Option<bool>) -> bool {
    let Some(viewers) = VIEWERS.get() else { return true };
    viewers.log || (viewers.traces && decision != Some(false))
}

/// Decides whether a call from here is recorded: as the span or the request is that it is made for, and by chance outside of
/// both. None where the SDK decides.
pub(crate) fn decide_call(random: &dyn Random) -> Option<bool> {
    let share = *SHARE.get()?;
    let current = Span::current();
    if !current.is_disabled() {
        let context = current.context();
        let span = context.span();
        if span.span_context().is_valid() {
            return Some(span.span_context().is_sampled());
        }
    }
    let of_request = REQUEST.try_with(|request| request.traceparent.as_ref().and_then(is_sampled));
    Some(of_request.ok().flatten().unwrap_or_else(|| is_chosen(share, random)))
}

/// Makes a span under a decision; none leaves it to the rule.
pub(crate) fn decided(decision: Option<bool>, make: impl FnOnce() -> Span) -> Span {
    if !is_seen(decision) {
        return Span::none();
    }
    let before = DECIDED.replace(decision);
    let made = make();
    DECIDED.set(before);
    made
}

/// Whether a span is to be made: the filter of the layer that makes OpenTelemetry spans.
pub(crate) fn is_wanted<S>(metadata: &Metadata<'_>, context: &Context<'_, S>, random: &dyn Random) -> bool
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Some(share) = SHARE.get() else { return true };
    if let Some(decision) = DECIDED.get().filter(|_| metadata.is_span()) {
        return decision;
    }
    if context.lookup_current().is_some() {
        return true;
    }
    let of_request = REQUEST.try_with(|request| request.traceparent.as_ref().and_then(is_sampled));
    metadata.is_span() && of_request.ok().flatten().unwrap_or_else(|| is_chosen(*share, random))
}

fn is_chosen(share: u64, random: &dyn Random) -> bool {
    if share == u64::MAX {
        return true;
    }
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_le_bytes(bytes) < share
}

/// The flag of a W3C `traceparent` that says whether its trace is recorded; none when it is not of the format.
fn is_sampled(header: &HeaderValue) -> Option<bool> {
    sampled_flag(header.to_str().ok()?)
}

pub(crate) fn sampled_flag(traceparent: &str) -> Option<bool> {
    let mut parts = traceparent.split('-');
    let (_version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    (trace_id.len() == 32 && span_id.len() == 16).then_some(flags & 1 == 1)
}

/// The `traceparent` of a trace that is not recorded.
fn unrecorded(random: &dyn Random) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = [0; 24];
    random.fill(&mut bytes);
    // Ids of zeros would mean none.
    (bytes[0], bytes[16]) = (bytes[0] | 1, bytes[16] | 1);
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    for (index, byte) in bytes.iter().enumerate() {
        let place = if index < 16 { 3 + 2 * index } else { 36 + 2 * (index - 16) };
        text[place] = DIGITS[usize::from(byte >> 4)];
        text[place + 1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemRandom;

    #[test]
    fn the_flag_of_a_traceparent_is_read() {
        let text = |flags| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        assert_eq!(sampled_flag(&text("01")), Some(true));
        assert_eq!(sampled_flag(&text("00")), Some(false));
        assert_eq!(sampled_flag(&text("zz")), None);
        assert_eq!(sampled_flag(""), None);
    }

    #[test]
    fn what_is_not_recorded_has_a_context_that_says_so() {
        let header = unrecorded(&SystemRandom);
        assert_eq!(is_sampled(&header), Some(false));
        let text = header.to_str().unwrap();
        assert_eq!(crate::trace::traceparent_of(&crate::trace::parent_from(text)).as_deref(), Some(text));
    }

    #[test]
    fn a_share_of_traces_is_chosen() {
        let chosen = (0..10_000).filter(|_| is_chosen(share_of(0.1), &SystemRandom)).count();
        assert!((700..1_300).contains(&chosen), "{chosen}");
        assert!(is_chosen(share_of(1.0), &SystemRandom) && !is_chosen(share_of(0.0), &SystemRandom));
    }
}
