//! What Watch counts and measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use opentelemetry::global;
use opentelemetry::metrics::Counter;

/// The instruments of Watch.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Observed when metrics are collected.
    streams: Arc<AtomicI64>,
    cut_off: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("gameshelf.arbiter");
        let streams = Arc::new(AtomicI64::new(0));
        let observed = Arc::clone(&streams);
        meter
            .i64_observable_up_down_counter("gameshelf.arbiter.watch.streams")
            .with_description("Watch streams that are open.")
            .with_unit("{stream}")
            .with_callback(move |counter| counter.observe(observed.load(Ordering::Relaxed), &[]))
            .build();
        let cut_off = meter
            .u64_counter("gameshelf.arbiter.watch.cut_off")
            .with_description("Readers of Watch streams that were cut off because they were slow.")
            .with_unit("{stream}")
            .build();
        Self { streams, cut_off }
    }

    pub(super) fn stream_opened(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stream_closed(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn cut_off(&self) {
        self.cut_off.add(1, &[]);
    }
}

/// The instruments of trimming the log.
#[derive(Debug)]
pub(super) struct TrimMetrics {
    log_bytes: Arc<AtomicU64>,
    mark: Arc<AtomicU64>,
    trimmed: Counter<u64>,
}

impl TrimMetrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("gameshelf.arbiter");
        let (log_bytes, mark) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (observed_bytes, observed_mark) = (Arc::clone(&log_bytes), Arc::clone(&mark));
        meter
            .u64_observable_gauge("gameshelf.arbiter.log.size")
            .with_description("About how many bytes of commits the log keeps.")
            .with_unit("By")
            .with_callback(move |gauge| gauge.observe(observed_bytes.load(Ordering::Relaxed), &[]))
            .build();
        meter
            .u64_observable_gauge("gameshelf.arbiter.log.oldest_resumable_revision")
            .with_description("The oldest revision that a reader may resume after.")
            .with_unit("{revision}")
            .with_callback(move |gauge| gauge.observe(observed_mark.load(Ordering::Relaxed), &[]))
            .build();
        let trimmed = meter
            .u64_counter("gameshelf.arbiter.log.trimmed")
            .with_description("Batches of commits that left the log.")
            .with_unit("{batch}")
            .build();
        Self { log_bytes, mark, trimmed }
    }

    pub(super) fn measured(&self, log_bytes: u64, mark: u64) {
        self.log_bytes.store(log_bytes, Ordering::Relaxed);
        self.mark.store(mark, Ordering::Relaxed);
    }

    pub(super) fn trimmed(&self, batches: u64) {
        self.trimmed.add(batches, &[]);
    }
}
