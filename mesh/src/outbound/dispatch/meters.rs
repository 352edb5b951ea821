//! What the edge to one service is measured with, besides the duration of its calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::attempt::Call;
use super::instance::{Condition, InstanceReport};
use super::shared::Shared;
use crate::seen::Edge;
use crate::telemetry;
use crate::version::Version;

/// Where an attempt goes that is not the first of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// To the instance that was asked before.
    Again,
    /// To another one.
    Elsewhere,
}

/// The counters of the edge to one service.
pub(super) struct Meters {
    edge: Arc<Edge>,
    attempts: Counter<u64>,
    retries: Counter<u64>,
    exhausted: Counter<u64>,
    ejections: Counter<u64>,
}

impl fmt::Debug for Meters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Meters")
    }
}

impl Meters {
    pub(super) fn new(edge: &Arc<Edge>) -> Self {
        let meter = global::meter("mesh");
        let counter = |name, description, unit| {
            meter.u64_counter(name).with_description(description).with_unit(unit).build()
        };
        Self {
            edge: edge.clone(),
            attempts: counter(
                "mesh.client.attempts",
                "Attempts at calls, by the version that was asked and what came of it.",
                "{attempt}",
            ),
            retries: counter("mesh.client.retries", "Attempts at calls beyond the first.", "{attempt}"),
            exhausted: counter(
                "mesh.client.budget.exhausted",
                "Calls that would have been attempted again, had there been budget.",
                "{call}",
            ),
            ejections: counter(
                "mesh.client.ejections",
                "Times that an instance failed too often in a row and got no more calls for a while.",
                "{ejection}",
            ),
        }
    }

    /// An attempt has ended.
    pub(super) fn attempt(
        &self,
        call: &Call,
        version: &Version,
        what: &'static str,
        repeats: Option<Repeat>,
    ) {
        if let Some(repeat) = repeats {
            self.retries.add(1, call.method.attributes());
            call.method.at(version).retried(repeat == Repeat::Elsewhere);
        }
        if !telemetry::is_measured() {
            return;
        }
        let calls = call.method.at(version);
        let [system, service, method, peer] = call.method.attributes().clone();
        let outcome = KeyValue::new("mesh.outcome", what);
        let version = calls.peer_version().unwrap_or_else(|| KeyValue::new("mesh.peer.version", ""));
        self.attempts.add(1, &[system, service, method, peer, version, outcome]);
    }

    /// A call gives up for want of budget.
    pub(super) fn budget_exhausted(&self, call: &Call) {
        self.exhausted.add(1, call.method.attributes());
    }

    /// An instance was ejected.
    pub(super) fn ejection(&self, version: &Version) {
        self.ejections.add(1, &[self.edge.peer(), KeyValue::new("mesh.peer.version", version.to_string())]);
    }
}

/// Has the instances counted by version and state whenever metrics are read.
pub(super) fn observe(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    global::meter("mesh")
        .u64_observable_gauge("mesh.client.instances")
        .with_description("Instances of a service as its caller sees them, by version and state.")
        .with_unit("{instance}")
        .with_callback(move |gauge| {
            let Some(shared) = Weak::upgrade(&shared) else { return };
            for ((version, state), count) in count(&shared.instances.reports()) {
                let attributes = [
                    KeyValue::new("peer.service", shared.name.to_string()),
                    KeyValue::new("mesh.peer.version", version),
                    KeyValue::new("mesh.state", state),
                ];
                gauge.observe(count, &attributes);
            }
        })
        .build();
}

fn count(reports: &[InstanceReport]) -> BTreeMap<(String, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for report in reports {
        let (version, state) = match &report.condition {
            Condition::Serving(description) if report.is_ejected => (Some(&description.version), "ejected"),
            Condition::Serving(description) => (Some(&description.version), "serving"),
            Condition::NotServing(description) => (Some(&description.version), "not_serving"),
            Condition::Unreachable => (None, "unreachable"),
            Condition::Unusable(_) => (None, "unusable"),
            Condition::Unknown => (None, "unknown"),
        };
        let version = version.map(ToString::to_string).unwrap_or_default();
        *counts.entry((version, state)).or_insert(0) += 1;
    }
    counts
}
