//! Drives one order, step by step.

use gameshelf::ids::OrderId;
use mesh::trace;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};

use super::outages::Outages;
use super::{Ends, Parts};
use crate::clients::CallError;
use crate::order::{Event, Order, Step, UnexpectedEvent, apply, next_step};
use crate::store::StoreError;

/// Reading an order is no step of it, but fails like one.
const LOAD: &str = "load";

/// How far an order was driven.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// It is at its end, or was never written.
    Ended,
    /// The service stops.
    Interrupted,
    /// Its present step has failed this often in a row, and is worth a repetition soon.
    Failed { failures: u32 },
    /// The same, but a repetition is not likely to help: only somebody who mends something.
    Hopeless { failures: u32 },
}

/// Why a step was not done, as far as is known.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Event(#[from] UnexpectedEvent),
}

impl StepError {
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Call(CallError::Transient(_))
                | Self::Store(StoreError::Unavailable(_) | StoreError::Unknown(_))
        )
    }
}

#[derive(Debug)]
pub(super) struct Driver {
    parts: Parts,
    ends: Ends,
    outages: Outages,
    stopping: CancellationToken,
}

impl Driver {
    pub(super) fn new(parts: Parts, ends: Ends, stopping: CancellationToken) -> Self {
        Self { parts, ends, outages: Outages::default(), stopping }
    }

    /// Takes an order as far as it goes. `failures` is how often its present step failed before.
    ///
    /// It runs in a task of its own, so the deadline of the request that made the order does not end it: each call
    /// has the timeout of calls to other services, and a step is never cut off by a shutdown.
    pub(super) async fn drive(&self, order_id: OrderId, failures: u32) -> Driven {
        let mut failures = failures;
        let mut known = None;
        loop {
            let order = match known.take() {
                Some(order) => order,
                None => match self.parts.store.by_id(order_id).await {
                    Ok(order) => {
                        self.succeeded(LOAD);
                        // Without an order: its writing was not acknowledged, and did not happen.
                        let Some(order) = order else { return Driven::Ended };
                        order
                    }
                    Err(error) => return self.failed(order_id, LOAD, failures, &error.into()),
                },
            };
            let Some(step) = next_step(&order) else {
                self.ends.tell(&order);
                return Driven::Ended;
            };
            if self.stopping.is_cancelled() {
                return Driven::Interrupted;
            }
            let span = span_of(&order, step, failures);
            match self.take_step(&order, step).instrument(span.clone()).await {
                Ok(after) => {
                    self.succeeded(step.name());
                    known = after;
                }
                Err(error) => {
                    span.record("otel.status_code", "ERROR");
                    return span.in_scope(|| self.failed(order_id, step.name(), failures, &error));
                }
            }
            failures = 0;
        }
    }

    /// Does a step and writes what came of it. None when somebody else was faster: the order must be loaded again.
    async fn take_step(&self, order: &Order, step: Step<'_>) -> Result<Option<Order>, StepError> {
        let clock = &self.parts.environment.clock;
        let begin = clock.monotonic();
        let outcome = self.perform(order, step).await;
        let took = clock.monotonic().saturating_duration_since(begin);
        let kind = match &outcome {
            Ok(_) => "ok",
            Err(CallError::Transient(_)) => "transient",
            Err(CallError::Unexpected(_)) => "unexpected",
        };
        self.parts.metrics.step(step.name(), kind, took);
        let after = apply(order, outcome?)?;
        if !self.parts.store.update(&after, clock.unix_ms()).await? {
            return Ok(None);
        }
        self.parts.metrics.order_ended(&after);
        Ok(Some(after))
    }

    async fn perform(&self, order: &Order, step: Step<'_>) -> Result<Event, CallError> {
        let clients = &self.parts.clients;
        match step {
            Step::Authorize(payment) => clients.payments.authorize(order, payment).await,
            Step::Grant => clients.arbiter.grant(order).await,
            Step::Capture(payment) => clients.payments.capture(payment).await,
            Step::Void(payment) => clients.payments.void(payment).await,
        }
    }

    fn succeeded(&self, step: &'static str) {
        if self.outages.succeeded(step) {
            tracing::info!(step, "a step that had no known outcome works again");
        }
    }

    fn failed(&self, order_id: OrderId, step: &'static str, failures: u32, error: &StepError) -> Driven {
        let failures = failures.saturating_add(1);
        if !error.is_transient() {
            // Somebody has to mend something; the order tells of it ever more rarely.
            if failures.is_power_of_two() {
                tracing::error!(%order_id, step, failures, %error, "an order cannot go on; its step is repeated slowly");
            }
            return Driven::Hopeless { failures };
        }
        if self.outages.failed(step) {
            tracing::warn!(%order_id, step, %error, "a step has no known outcome; it is repeated until it has one");
        }
        tracing::debug!(%order_id, step, failures, %error, "a step is repeated");
        Driven::Failed { failures }
    }
}

/// A span of the trace in which the order was made, which may have been before a restart.
fn span_of(order: &Order, step: Step<'_>, failures: u32) -> Span {
    let make = || {
        tracing::info_span!(
            parent: None,
            "order step",
            otel.name = format!("order {}", step.name()),
            otel.status_code = field::Empty,
            order_id = %order.order_id,
            step = step.name(),
            attempt = failures.saturating_add(1),
        )
    };
    match &order.traceparent {
        Some(traceparent) => trace::child_of(traceparent, make),
        None => make(),
    }
}
