//! A request in the queue.

use std::sync::Arc;

use opentelemetry::trace::TraceContextExt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::batch::Item;
use super::metrics::Metrics;
use super::request::{Answer, Submission, SubmitError};

/// The part of the queue's room that a request takes while it waits.
#[derive(Debug)]
pub(super) struct QueueRoom {
    pub(super) _bytes: OwnedSemaphorePermit,
    pub(super) metrics: Arc<Metrics>,
}

impl Drop for QueueRoom {
    fn drop(&mut self) {
        self.metrics.left_queue();
    }
}

/// A request in the queue, with the way back to its caller.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) submission: Submission,
    content_hash: [u8; 32],
    traceparent: String,
    reply: oneshot::Sender<Result<Answer, SubmitError>>,
    /// Given back when the request is answered.
    _room: QueueRoom,
}

impl Envelope {
    pub(super) fn new(
        submission: Submission,
        room: QueueRoom,
    ) -> (Self, oneshot::Receiver<Result<Answer, SubmitError>>) {
        let (reply, answer) = oneshot::channel();
        // The hash is taken on the caller's side of the queue, so that the one writer does not have to.
        let content_hash = submission.command.content_hash();
        // Most requests are not looked at: they must not pay for those that are.
        let mut traceparent = String::new();
        if !submission.span.is_disabled() {
            traceparent = recorded_traceparent(&submission.span);
            submission.span.add_event("queued", Vec::new());
        }
        (Self { submission, content_hash, traceparent, reply, _room: room }, answer)
    }

    pub(super) fn bytes(&self) -> usize {
        self.submission.command.bytes()
    }

    /// Whether anybody looks at the request's span.
    pub(super) fn is_observed(&self) -> bool {
        !self.submission.span.is_disabled()
    }

    /// Whether the caller has given up.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers the caller. One who is gone finds the outcome by its request id.
    pub(super) fn answer(self, answer: Result<Answer, SubmitError>) {
        if answer.is_ok() && self.is_observed() {
            self.submission.span.add_event("committed", Vec::new());
        }
        // Sending fails only when nobody waits any more.
        let _ = self.reply.send(answer);
    }

    /// The request as its batch sees it.
    pub(super) fn item(&self) -> Item<'_> {
        Item {
            request_id: self.submission.request_id,
            content_hash: self.content_hash,
            command: &self.submission.command,
            traceparent: &self.traceparent,
        }
    }
}

/// The trace of a span, to be kept with its commit; empty when nobody records it.
fn recorded_traceparent(span: &Span) -> String {
    let context = span.context();
    if context.span().span_context().is_sampled() {
        mesh::trace::traceparent_of(&context).unwrap_or_default()
    } else {
        String::new()
    }
}
