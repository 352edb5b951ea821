//! What the service counts and measures.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

use crate::copy::Figures;

/// The instruments. Cheap to clone; they cost little where no metrics are exported.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    answers: Counter<u64>,
    batch_commits: Histogram<u64>,
    batch_seconds: Histogram<f64>,
    revision: Gauge<u64>,
    lag: Gauge<u64>,
    age_seconds: Gauge<f64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("game-list");
        Self {
            answers: meter
                .u64_counter("gameshelf.game_list.answers")
                .with_description("Pages answered, by where they came from.")
                .build(),
            batch_commits: meter
                .u64_histogram("gameshelf.game_list.apply.commits")
                .with_description("Commits applied in one transaction.")
                .build(),
            batch_seconds: meter
                .f64_histogram("gameshelf.game_list.apply.duration")
                .with_unit("s")
                .with_description("How long a transaction that applies commits takes.")
                .build(),
            revision: meter
                .u64_gauge("gameshelf.game_list.copy.revision")
                .with_description("The revision that the copy shows.")
                .build(),
            lag: meter
                .u64_gauge("gameshelf.game_list.copy.lag")
                .with_description("How many revisions the arbiter is ahead of the copy.")
                .build(),
            age_seconds: meter
                .f64_gauge("gameshelf.game_list.copy.age")
                .with_unit("s")
                .with_description("How old the copy is at most.")
                .build(),
        }
    }

    /// A page was answered.
    pub(crate) fn answered(&self, source: &'static str, degraded: bool) {
        self.answers.add(1, &[KeyValue::new("source", source), KeyValue::new("degraded", degraded)]);
    }

    /// Commits were applied in one transaction.
    pub(crate) fn applied(&self, commits: usize, took: Duration) {
        self.batch_commits.record(commits as u64, &[]);
        self.batch_seconds.record(took.as_secs_f64(), &[]);
    }

    /// How the copy stands; what is not known is not recorded.
    pub(crate) fn figures(&self, figures: &Figures) {
        if let Some(revision) = figures.revision {
            self.revision.record(revision, &[]);
        }
        if let Some(lag) = figures.lag {
            self.lag.record(lag, &[]);
        }
        if let Some(age) = figures.age {
            self.age_seconds.record(age.as_secs_f64(), &[]);
        }
    }
}
