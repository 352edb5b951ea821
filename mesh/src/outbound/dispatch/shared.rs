//! What all calls to one service share.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tonic::Status;

use super::attempt::Call;
use super::budget::Budget;
use super::instance::Condition;
use super::instances::Instances;
use crate::environment::Environment;
use crate::errors::{self, Reason};
use crate::rpc;
use crate::version::{Requirement, Version};

/// One service as its callers in this process see it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) requirement: Requirement,
    /// The requirement as each request tells it.
    pub(super) requires: HeaderValue,
    pub(super) instances: Instances,
    pub(super) budget: Budget,
    pub(super) environment: Environment,
    pub(super) meters: Meters,
    pub(super) max_message_bytes: usize,
}

impl Shared {
    /// That there is nobody to call now, and why.
    pub(super) fn no_instance(&self) -> Status {
        let known = self.instances.known().unwrap_or_else(|| Arc::from([]));
        let (mut unreachable, mut silent, mut incompatible, mut ejected) = (0u32, 0u32, 0u32, 0u32);
        for instance in known.iter() {
            match instance.condition() {
                Condition::Unknown | Condition::Unreachable => unreachable += 1,
                Condition::NotServing(_) => silent += 1,
                Condition::Unusable(_) => incompatible += 1,
                Condition::Serving(description) if !self.requirement.is_met_by(&description.version) => {
                    incompatible += 1;
                }
                Condition::Serving(_) => ejected += 1,
            }
        }
        errors::status(
            Reason::NoInstance,
            format!("no instance of {} can be called now that meets {}", self.name, self.requirement),
            &[
                ("service", self.name.to_string()),
                ("required", self.requirement.to_string()),
                ("instances", known.len().to_string()),
                ("unreachable", unreachable.to_string()),
                ("not_serving", silent.to_string()),
                ("incompatible", incompatible.to_string()),
                ("ejected_or_tried", ejected.to_string()),
            ],
        )
    }
}

/// What the edge to one service is measured with.
pub(super) struct Meters {
    peer: Arc<str>,
    attempts: Counter<u64>,
    retries: Counter<u64>,
    exhausted: Counter<u64>,
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
