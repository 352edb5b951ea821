//! What the edge to one service is measured with, besides the duration of its calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::attempt::Call;
use super::instance::{Condition, InstanceReport};
use super::shared::Shared;
use crate::rpc;
use crate::version::Version;

/// The counters of the edge to one service.
pub(super) struct Meters {
    peer: Arc<str>,
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
    pub(super) fn new(peer: &Arc<str>) -> Self {
        let meter = global::meter("mesh");
        let counter = |name, description, unit| {
            meter.u64_counter(name).with_description(description).with_unit(unit).build()
        };
        Self {
            peer: peer.clone(),
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
    pub(super) fn attempt(&self, call: &Call, version: &Version, what: &'static str, is_retry: bool) {
        let mut attributes = self.attributes(call);
        if is_retry {
            self.retries.add(1, &attributes);
        }
        attributes.push(KeyValue::new("mesh.peer.version", version.to_string()));
        attributes.push(KeyValue::new("mesh.outcome", what));
        self.attempts.add(1, &attributes);
    }

    /// A call gives up for want of budget.
    pub(super) fn budget_exhausted(&self, call: &Call) {
        self.exhausted.add(1, &self.attributes(call));
    }

    /// An instance was ejected.
    pub(super) fn ejection(&self, version: &Version) {
        let peer = KeyValue::new("peer.service", self.peer.to_string());
        self.ejections.add(1, &[peer, KeyValue::new("mesh.peer.version", version.to_string())]);
    }

    fn attributes(&self, call: &Call) -> Vec<KeyValue> {
        let (service, method) = rpc::split(call.parts.uri.path());
        vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", method.to_owned()),
            KeyValue::new("peer.service", self.peer.to_string()),
        ]
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
