//! What the service counts.

use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, global};

use crate::order::{Order, State};

/// The instruments. Cheap to clone; without an exporter they do nothing.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    meter: Meter,
    ended: Counter<u64>,
    step_seconds: Histogram<f64>,
    retries: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("purchase");
        Self {
            ended: meter
                .u64_counter("gameshelf.purchase.orders")
                .with_description("Orders that came to their end, by state and reason")
                .build(),
            step_seconds: meter
                .f64_histogram("gameshelf.purchase.step.duration")
                .with_unit("s")
                .with_description("Time of one attempt of a step, by step and outcome")
                .build(),
            retries: meter
                .u64_counter("gameshelf.purchase.step.retries")
                .with_description("Attempts of a step without a known outcome, by step and kind")
                .build(),
            meter,
        }
    }

    /// Reports how many orders are not at their end, for as long as the count is kept.
    pub(crate) fn observe_unfinished(&self, count: Weak<AtomicUsize>) {
        // The instrument lives in the meter; nobody else has to hold it.
        let _ = self
            .meter
            .u64_observable_gauge("gameshelf.purchase.orders.unfinished")
            .with_description("Orders that are not at their end")
            .with_callback(move |observer| {
                if let Some(count) = count.upgrade() {
                    observer.observe(u64::try_from(count.load(Ordering::Relaxed)).unwrap_or(u64::MAX), &[]);
                }
            })
            .build();
    }

    /// Counts an order that is at its end.
    pub(crate) fn order_ended(&self, order: &Order) {
        let (state, reason) = match &order.state {
            State::Completed(_) => ("completed", ""),
            State::Refused(refusal) => ("refused", refusal.reason().as_str()),
            _ => return,
        };
        self.ended.add(1, &[KeyValue::new("state", state), KeyValue::new("reason", reason)]);
    }

    /// Notes one attempt of a step. The outcome is `ok`, or the kind of failure.
    pub(crate) fn step(&self, step: &'static str, outcome: &'static str, took: Duration) {
        let labels = [KeyValue::new("step", step), KeyValue::new("outcome", outcome)];
        self.step_seconds.record(took.as_secs_f64(), &labels);
        if outcome != "ok" {
            self.retries.add(1, &labels);
        }
    }
}
