//! What is measured of a file that is watched.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::metrics::Gauge;
use opentelemetry::{KeyValue, global};

use crate::environment::Clock;

/// The gauges of one file, by its name.
pub(super) struct Meters {
    name: KeyValue,
    clock: Arc<dyn Clock>,
    good_at: Instant,
    age_seconds: Gauge<f64>,
    trouble: Gauge<u64>,
}

impl Meters {
    pub(super) fn new(path: &Path, clock: Arc<dyn Clock>) -> Self {
        let meter = global::meter("mesh");
        // The name alone: where a file lies is the machine's own affair.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            name: KeyValue::new("mesh.file", name),
            good_at: clock.monotonic(),
            clock,
            age_seconds: meter
                .f64_gauge("mesh.file.age")
                .with_unit("s")
                .with_description("Time since the value that is used was last found to be the file's.")
                .build(),
            trouble: meter
                .u64_gauge("mesh.file.trouble")
                .with_description("1 while the file as it stands is not used, 0 otherwise.")
                .build(),
        }
    }

    /// The value that is used is the file's.
    pub(super) fn good(&mut self) {
        self.good_at = self.clock.monotonic();
        self.record(0);
    }

    /// The file as it stands is not used.
    pub(super) fn bad(&mut self) {
        self.record(1);
    }

    fn record(&self, trouble: u64) {
        let labels = std::slice::from_ref(&self.name);
        let age = self.clock.monotonic().saturating_duration_since(self.good_at);
        self.age_seconds.record(age.as_secs_f64(), labels);
        self.trouble.record(trouble, labels);
    }
}
