//! What is measured of the catalogue that purchase gives.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};

/// The instruments; they cost little where no metrics are exported.
#[derive(Debug)]
pub(super) struct Metrics {
    copy: KeyValue,
    fetches: Counter<u64>,
    age_seconds: Gauge<f64>,
    trouble: Gauge<u64>,
}

impl Metrics {
    /// By the name of the copy, as everything else that is measured of an instance.
    pub(super) fn new(copy_name: &str) -> Self {
        let meter = global::meter("game-list");
        Self {
            copy: KeyValue::new("copy", copy_name.to_owned()),
            fetches: meter
                .u64_counter("gameshelf.game_list.catalog.fetches")
                .with_description("Questions to purchase for the catalogue, by what came of them.")
                .build(),
            age_seconds: meter
                .f64_gauge("gameshelf.game_list.catalog.age")
                .with_unit("s")
                .with_description("Time since purchase last said that the catalogue is the current one.")
                .build(),
            trouble: meter
                .u64_gauge("gameshelf.game_list.catalog.trouble")
                .with_description("1 while purchase cannot be asked for the catalogue, 0 otherwise.")
                .build(),
        }
    }

    /// Purchase was asked. The outcome is `changed`, `unchanged` or `failed`.
    pub(super) fn asked(&self, outcome: &'static str) {
        self.fetches.add(1, &[self.copy.clone(), KeyValue::new("outcome", outcome)]);
        self.trouble.record((outcome == "failed").into(), std::slice::from_ref(&self.copy));
    }

    /// How old the catalogue is at most.
    pub(super) fn age(&self, age: Duration) {
        self.age_seconds.record(age.as_secs_f64(), std::slice::from_ref(&self.copy));
    }
}
