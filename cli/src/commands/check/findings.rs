//! What is wrong with the mesh, by what its instances say.

use std::collections::BTreeSet;

use mesh::proto::v1::EdgeInstanceState;
use mesh::version::{Requirement, Version};
use serde::Serialize;

use crate::exit::Failure;
use crate::output;
use crate::survey::{EdgeSum, Health, Instance, edges};

/// Of fewer calls, or requests, nothing can be said.
const ENOUGH: u64 = 100;
/// The share of errors, in percent, over which the calls of an edge fail.
const FAILING_PERCENT: u64 = 10;

const SERVICE_UNREACHABLE: &str = "SERVICE_UNREACHABLE";
const DATA_NOT_CHECKED: &str = "DATA_NOT_CHECKED";

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Somebody cannot be asked.
    Unreachable,
    /// Something is wrong.
    Wrong,
}

/// Something that is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    reason: String,
    service: String,
    /// The service that it calls, where it is about the calls to it.
    peer: Option<String>,
    address: Option<String>,
    message: String,
    advice: String,
}

impl Finding {
    fn new(reason: &str, service: &str, message: String, advice: impl Into<String>) -> Self {
        let (reason, service) = (reason.to_owned(), service.to_owned());
        Self { reason, service, peer: None, address: None, message, advice: advice.into() }
    }

    fn at(self, address: &str) -> Self {
        Self { address: Some(address.to_owned()), ..self }
    }

    fn with_peer(self, peer: &str) -> Self {
        Self { peer: Some(peer.to_owned()), ..self }
    }

    pub(super) fn weight(&self) -> Weight {
        match self.reason.as_str() {
            SERVICE_UNREACHABLE | DATA_NOT_CHECKED => Weight::Unreachable,
            _ => Weight::Wrong,
        }
    }
}

/// The data, which could not be checked for want of somebody who answers.
pub(super) fn not_checked(failure: &Failure) -> Finding {
    let message = format!("the data could not be compared with the digests: {failure}");
    Finding::new(DATA_NOT_CHECKED, "arbiter", message, "check again once the arbiter answers")
}

/// All that is wrong, by service.
pub(super) fn find(instances: &[Instance], max_calls_per_request: u64) -> Vec<Finding> {
    let edges = edges(instances);
    let mut found: Vec<Finding> = instances.iter().flat_map(of_instance).collect();
    for edge in &edges {
        found.extend(incompatible(edge, instances));
        found.extend(of_seen_instances(edge, instances));
        found.extend(failing(edge));
        found.extend(chatty(edge, max_calls_per_request));
    }
    found.sort_by(|a, b| (&a.service, &a.peer, &a.reason).cmp(&(&b.service, &b.peer, &b.reason)));
    found
}

fn of_instance(instance: &Instance) -> Vec<Finding> {
    let Instance { service, address, .. } = instance;
    let condition = match instance.health {
        Health::Unreachable => Some(Finding::new(
            SERVICE_UNREACHABLE,
            service,
            format!("{service} at {address} does not answer"),
            format!("is it running? See its log, or say where it is with --port-base or --{service}-address"),
        )),
        Health::NotServing => Some(Finding::new(
            "NOT_SERVING",
            service,
            format!("{service} at {address} answers, and says that it does not serve"),
            "it begins, ends, or has lost what it needs, such as its store: its log says which",
        )),
        Health::Serving | Health::Unknown => None,
    };
    let concerns = instance.report.iter().flat_map(|report| &report.concerns);
    let concerns = concerns.map(|concern| {
        let message = format!("{service} at {address}: {}", concern.message);
        Finding::new(&concern.reason, service, message, &concern.advice)
    });
    condition.into_iter().chain(concerns).map(|finding| finding.at(address)).collect()
}

/// A range that no instance meets. Where none is known, they cannot be reached, which is told of each.
fn incompatible(edge: &EdgeSum, instances: &[Instance]) -> Vec<Finding> {
    let callers = instances.iter().filter(|instance| instance.service == edge.caller);
    let stated = callers.flat_map(|caller| caller.description.iter()).flat_map(|told| &told.requirements);
    let stated = stated.filter(|required| required.service == edge.callee).map(|required| &required.range);
    let ranges: BTreeSet<&String> = stated.chain(&edge.requirements).collect();
    let callees = instances.iter().filter(|instance| instance.service == edge.callee);
    let told = callees.filter_map(|callee| callee.description.as_ref()).map(|told| told.version.as_str());
    let seen = edge.instances.iter().map(|(_, instance)| instance.version.as_str());
    let versions: BTreeSet<&str> = told.chain(seen).filter(|version| !version.is_empty()).collect();
    let is_met = |range: &String| {
        let Ok(range) = range.parse::<Requirement>() else { return true };
        versions.iter().filter_map(|version| version.parse::<Version>().ok()).any(|one| range.is_met_by(&one))
    };
    let unmet = ranges.into_iter().filter(|range| !versions.is_empty() && !is_met(range));
    let found = unmet.map(|range| {
        let EdgeSum { caller, callee, .. } = edge;
        let running = versions.iter().copied().collect::<Vec<_>>().join(", ");
        let message = format!("{caller} requires {callee} {range}, and what runs is {running}");
        let advice = format!(
            "run a {callee} that meets {range} beside the others, or a {caller} that can use one of them"
        );
        Finding::new("VERSION_INCOMPATIBLE", caller, message, advice).with_peer(callee)
    });
    found.collect()
}

/// What the caller's instances say of those of the callee. What nobody can reach is told already.
fn of_seen_instances(edge: &EdgeSum, instances: &[Instance]) -> Vec<Finding> {
    let EdgeSum { caller, callee, .. } = edge;
    let is_down = |address: &str| {
        instances.iter().any(|one| one.address == address && one.health == Health::Unreachable)
    };
    let found = edge.instances.iter().filter_map(|(seen_by, seen)| {
        let address = &seen.address;
        let finding = match seen.state() {
            EdgeInstanceState::Ejected => Finding::new(
                "INSTANCE_EJECTED",
                caller,
                format!("{caller} at {seen_by} sends {callee} at {address} no calls for a while: too many failed in a row"),
                format!("see why in the log of {callee}; it gets calls again once one of them succeeds"),
            ),
            EdgeInstanceState::Unusable => Finding::new(
                "INSTANCE_UNUSABLE",
                caller,
                format!("{caller} at {seen_by} cannot use what is at {address} as {callee}: {}", seen.why),
                format!("is that the address of a {callee}? Mend the addresses that {caller} is given"),
            ),
            EdgeInstanceState::Unreachable if !is_down(address) => Finding::new(
                SERVICE_UNREACHABLE,
                caller,
                format!("{caller} at {seen_by} cannot reach {callee} at {address}"),
                "is it running, and does the network between the two let them through?",
            ),
            _ => return None,
        };
        Some(finding.with_peer(callee).at(address))
    });
    found.collect()
}

fn failing(edge: &EdgeSum) -> Option<Finding> {
    let EdgeSum { caller, callee, .. } = edge;
    let total = edge.total();
    let fails = total.calls >= ENOUGH && total.errors * 100 > total.calls * FAILING_PERCENT;
    fails.then(|| {
        let percent = total.errors * 100 / total.calls;
        let message = format!("{percent}% of the {} calls of {caller} to {callee} failed", total.calls);
        let advice = format!("gameshelf status --methods shows which of them; the log of {callee} says why");
        Finding::new("EDGE_FAILING", caller, message, advice).with_peer(callee)
    })
}

fn chatty(edge: &EdgeSum, max_calls_per_request: u64) -> Vec<Finding> {
    let EdgeSum { caller, callee, .. } = edge;
    let over = edge.requests.iter().filter(|(_, sum)| {
        sum.requests >= ENOUGH && sum.calls > sum.requests.saturating_mul(max_calls_per_request)
    });
    let found = over.map(|(method, sum)| {
        let average = sum.calls_per_request().unwrap_or_default();
        let message = format!(
            "in serving {method}, {caller} calls {callee} {average:.1} times a request on average, {} times at most; {max_calls_per_request} is what was allowed",
            sum.most_calls
        );
        let advice = format!(
            "ask for several things in one call; where the two always need each other, make {caller} and {callee} one service"
        );
        Finding::new("EDGE_CHATTY", caller, message, advice).with_peer(callee)
    });
    found.collect()
}

/// What was found, each with what to do.
pub(super) fn in_words(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "the mesh: nothing is wrong\n".to_owned();
    }
    let number = output::count(findings.len(), "finding");
    let told = findings.iter().map(|one| format!("{}: {}\n  {}\n", one.reason, one.message, one.advice));
    format!("the mesh: {number}\n{}", told.collect::<String>())
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
