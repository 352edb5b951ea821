//! What a copy counts and measures, by its name.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

use crate::source::RebuildCause;
use crate::status::Figures;

/// The instruments. Cheap to clone; they cost little where no metrics are exported.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    copy: KeyValue,
    batch_commits: Histogram<u64>,
    batch_seconds: Histogram<f64>,
    revision: Gauge<u64>,
    lag: Gauge<u64>,
    age_seconds: Gauge<f64>,
    queue_messages: Gauge<u64>,
    scrubbed: Counter<u64>,
    different: Counter<u64>,
    repaired: Counter<u64>,
    rebuilt: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(name: &str) -> Self {
        let meter = global::meter("copy");
        let counter = |name, description| meter.u64_counter(name).with_description(description).build();
        let gauge = |name, description| meter.u64_gauge(name).with_description(description).build();
        let seconds = "s";
        Self {
            copy: KeyValue::new("copy", name.to_owned()),
            batch_commits: meter
                .u64_histogram("gameshelf.copy.apply.commits")
                .with_description("Commits applied in one transaction.")
                .build(),
            batch_seconds: meter
                .f64_histogram("gameshelf.copy.apply.duration")
                .with_unit(seconds)
                .with_description("How long a transaction that applies commits takes.")
                .build(),
            revision: gauge("gameshelf.copy.revision", "The revision that the copy shows."),
            lag: gauge("gameshelf.copy.lag", "How many revisions the arbiter is ahead of the copy."),
            age_seconds: meter
                .f64_gauge("gameshelf.copy.age")
                .with_unit(seconds)
                .with_description("How old the copy is at most.")
                .build(),
            queue_messages: gauge("gameshelf.copy.queue", "Messages that wait to be applied."),
            scrubbed: counter("gameshelf.copy.scrubbed", "Partitions of which all rows were read again."),
            different: counter(
                "gameshelf.copy.different",
                "Partitions that were found to differ from the arbiter's.",
            ),
            repaired: counter("gameshelf.copy.repaired", "Partitions that were mended."),
            rebuilt: counter("gameshelf.copy.rebuilt", "Snapshots that the copy was built from, by why."),
        }
    }

    /// Commits were applied in one transaction.
    pub(crate) fn applied(&self, commits: usize, took: Duration) {
        let labels = std::slice::from_ref(&self.copy);
        self.batch_commits.record(commits as u64, labels);
        self.batch_seconds.record(took.as_secs_f64(), labels);
    }

    /// So many messages wait.
    pub(crate) fn queued(&self, messages: usize) {
        self.queue_messages.record(messages as u64, std::slice::from_ref(&self.copy));
    }

    /// All rows of a partition were read again.
    pub(crate) fn scrubbed(&self) {
        self.scrubbed.add(1, std::slice::from_ref(&self.copy));
    }

    /// Partitions were found to differ.
    pub(crate) fn different(&self, partitions: usize) {
        self.different.add(partitions as u64, std::slice::from_ref(&self.copy));
    }

    /// A partition was mended.
    pub(crate) fn repaired(&self) {
        self.repaired.add(1, std::slice::from_ref(&self.copy));
    }

    /// The copy was built from a snapshot.
    pub(crate) fn rebuilt(&self, cause: RebuildCause) {
        self.rebuilt.add(1, &[self.copy.clone(), KeyValue::new("cause", cause.as_str())]);
    }

    /// How the copy stands; what is not known is not recorded.
    pub(crate) fn figures(&self, figures: &Figures) {
        let labels = std::slice::from_ref(&self.copy);
        if let Some(revision) = figures.revision {
            self.revision.record(revision, labels);
        }
        if let Some(lag) = figures.lag {
            self.lag.record(lag, labels);
        }
        if let Some(age) = figures.age {
            self.age_seconds.record(age.as_secs_f64(), labels);
        }
    }
}
