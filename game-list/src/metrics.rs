//! What the service counts and measures besides its copy.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

/// The instruments. Cheap to clone; they cost little where no metrics are exported.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    answers: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("game-list");
        Self {
            answers: meter
                .u64_counter("gameshelf.game_list.answers")
                .with_description("Pages answered, by where they came from.")
                .build(),
        }
    }

    /// A page was answered.
    pub(crate) fn answered(&self, source: &'static str, degraded: bool) {
        self.answers.add(1, &[KeyValue::new("source", source), KeyValue::new("degraded", degraded)]);
    }
}
