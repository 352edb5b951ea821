//! What the sequencer counts and measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Histogram};

/// The instruments of the sequencer.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Observed when metrics are collected: to count is then all that a request pays.
    queue: Arc<AtomicI64>,
    refused: Counter<u64>,
    batch_size: Histogram<u64>,
    commit_seconds: Histogram<f64>,
    settled: Counter<u64>,
    assumed_wrongly: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("gameshelf.arbiter");
        let queue = Arc::new(AtomicI64::new(0));
        let observed = Arc::clone(&queue);
        meter
            .i64_observable_up_down_counter("gameshelf.arbiter.queue.requests")
            .with_description("Requests that wait for the sequencer.")
            .with_unit("{request}")
            .with_callback(move |counter| counter.observe(observed.load(Ordering::Relaxed), &[]))
            .build();
        Self {
            queue,
            refused: meter
                .u64_counter("gameshelf.arbiter.queue.refused")
                .with_description("Requests refused because the queue was full.")
                .with_unit("{request}")
                .build(),
            batch_size: meter
                .u64_histogram("gameshelf.arbiter.batch.size")
                .with_description("Requests in one transaction.")
                .with_unit("{request}")
                .build(),
            commit_seconds: meter
                .f64_histogram("gameshelf.arbiter.commit.duration")
                .with_description("How long one transaction took, from its begin to its acknowledgement.")
                .with_unit("s")
                .build(),
            settled: meter
                .u64_counter("gameshelf.arbiter.settled")
                .with_description("Times that a new epoch was committed because the store's answer was lost.")
                .with_unit("{epoch}")
                .build(),
            assumed_wrongly: meter
                .u64_counter("gameshelf.arbiter.batch.assumed_wrongly")
                .with_description(
                    "Batches that were decided again because something was not as new as assumed.",
                )
                .with_unit("{batch}")
                .build(),
        }
    }

    pub(super) fn entered_queue(&self) {
        self.queue.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left_queue(&self) {
        self.queue.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.add(1, &[]);
    }

    pub(super) fn committed(&self, batch_size: usize, seconds: f64) {
        self.batch_size.record(batch_size as u64, &[]);
        self.commit_seconds.record(seconds, &[]);
    }

    pub(super) fn assumed_wrongly(&self) {
        self.assumed_wrongly.add(1, &[]);
    }

    pub(super) fn settled(&self) {
        self.settled.add(1, &[]);
    }
}
