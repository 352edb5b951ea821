//! What was seen, in the form of `gameshelf.mesh.v1`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tonic::Code;

use super::Seen;
use super::edge::{Calls, Edge};
use crate::outbound::dispatch::{Condition, InstanceReport};
use crate::proto::v1;

impl Seen {
    /// What was served and called so far, by name.
    pub(crate) fn report(&self) -> v1::ReportResponse {
        let mut edges: Vec<_> = self.edges().iter().map(|edge| edge_of(edge)).collect();
        edges.sort_by(|a, b| a.service.cmp(&b.service));
        v1::ReportResponse { served: self.served().report(), edges, ..Default::default() }
    }
}

fn edge_of(edge: &Edge) -> v1::Edge {
    let views = edge.views();
    // An instance that is called in several ways is told once.
    let instances: BTreeMap<_, _> = views
        .iter()
        .flat_map(|view| &view.instances)
        .map(|instance| (instance.address.clone(), instance_of(instance)))
        .collect();
    let methods = edge.methods();
    let calls = methods.iter().flat_map(|method| {
        method.versions().into_iter().map(|calls| calls_of(&method.name, &calls)).collect::<Vec<_>>()
    });
    // A version that was only asked first, and passed over, has nothing to tell.
    let mut calls: Vec<_> = calls.filter(|calls| calls.calls > 0 || calls.retries > 0).collect();
    calls.sort_by(|a, b| (&a.method, &a.version).cmp(&(&b.method, &b.version)));
    let requests = edge.requests().into_iter().map(|(method, counted)| v1::EdgeRequests {
        method: method.into(),
        requests: counted.served,
        calls: counted.calls,
        most_calls: counted.most_calls,
    });
    v1::Edge {
        service: edge.name().to_owned(),
        requirement: views.first().map(|view| view.requirement.to_string()).unwrap_or_default(),
        instances: instances.into_values().collect(),
        calls,
        requests: requests.collect(),
    }
}

fn calls_of(method: &str, calls: &Calls) -> v1::EdgeCalls {
    let by_code = calls.codes.iter().map(|count| count.load(Ordering::Relaxed));
    let by_code: Vec<(Code, u64)> = (0..).map(Code::from_i32).zip(by_code).collect();
    let failures = by_code.iter().filter(|(code, calls)| *code != Code::Ok && *calls > 0);
    v1::EdgeCalls {
        method: method.to_owned(),
        version: calls.version.to_string(),
        calls: by_code.iter().map(|(_, calls)| calls).sum(),
        failures: failures
            .map(|(code, calls)| v1::EdgeFailures { code: i32::from(*code), calls: *calls })
            .collect(),
        retries: calls.retries.load(Ordering::Relaxed),
        fallbacks: calls.fallbacks.load(Ordering::Relaxed),
        calls_in_requests: calls.in_requests.load(Ordering::Relaxed),
        latency_sum_us: calls.latencies.sum_us(),
        latencies: calls.latencies.buckets(),
    }
}

fn instance_of(report: &InstanceReport) -> v1::EdgeInstance {
    use v1::EdgeInstanceState as State;

    let (description, state, why) = match &report.condition {
        Condition::Unknown => (None, State::Unspecified, ""),
        Condition::Serving(description) if report.is_ejected => (Some(description), State::Ejected, ""),
        Condition::Serving(description) => (Some(description), State::Serving, ""),
        Condition::NotServing(description) => (Some(description), State::NotServing, ""),
        Condition::Unreachable => (None, State::Unreachable, ""),
        Condition::Unusable(why) => (None, State::Unusable, &**why),
    };
    v1::EdgeInstance {
        address: report.address.authority(),
        version: description.map(|description| description.version.to_string()).unwrap_or_default(),
        state: state.into(),
        why: why.to_owned(),
        in_flight: report.in_flight,
    }
}
