//! What all calls to one service share.

use std::sync::{Arc, Weak};

use http::HeaderValue;
use tonic::Status;

use super::budget::Budget;
use super::instance::Condition;
use super::instances::Instances;
use super::meters::Meters;
use crate::environment::Environment;
use crate::errors::{self, Reason};
use crate::seen::{Edge, View};
use crate::version::Requirement;

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
    pub(super) edge: Arc<Edge>,
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
        errors::retryable(
            Reason::NoInstance,
            format!(
                "no instance of {} can be called now that meets {}: of {} known, {unreachable} cannot be reached, \
                 {silent} do not serve, {incompatible} are of another version or service",
                self.name,
                self.requirement,
                known.len()
            ),
            &[
                ("service", self.name.to_string()),
                ("required", self.requirement.to_string()),
                ("instances", known.len().to_string()),
                ("unreachable", unreachable.to_string()),
                ("not_serving", silent.to_string()),
                ("incompatible", incompatible.to_string()),
                ("ejected_or_tried", ejected.to_string()),
            ],
            errors::RETRY_RECOVERY,
        )
    }
}

/// Has the instances told wherever it is asked what this process sees.
pub(super) fn look(shared: &Arc<Shared>) {
    let seen = Arc::downgrade(shared);
    shared.edge.look(move || {
        let shared = Weak::upgrade(&seen)?;
        Some(View { requirement: shared.requirement.clone(), instances: shared.instances.reports() })
    });
}
