//! The status for programs.

use std::collections::BTreeMap;

use mesh::errors::code_name;
use mesh::proto::v1::{Concern, EdgeInstance, EdgeInstanceState};
use serde::Serialize;
use tonic::Code;

use crate::survey::{CallSum, EdgeSum, Instance};

#[derive(Serialize)]
pub(super) struct Status<'a> {
    instances: Vec<InstanceJson<'a>>,
    edges: Vec<EdgeJson<'a>>,
}

#[derive(Serialize)]
struct InstanceJson<'a> {
    service: &'a str,
    address: &'a str,
    health: &'static str,
    /// Null where it does not say.
    version: Option<&'a str>,
    uptime_ms: Option<u64>,
    requires: Vec<RequirementJson<'a>>,
    packages: Vec<PackageJson<'a>>,
    served: Vec<ServedJson<'a>>,
    concerns: Vec<ConcernJson<'a>>,
}

#[derive(Serialize)]
struct RequirementJson<'a> {
    service: &'a str,
    range: &'a str,
}

#[derive(Serialize)]
struct PackageJson<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct ServedJson<'a> {
    method: &'a str,
    requests: u64,
    errors: u64,
}

#[derive(Serialize)]
struct ConcernJson<'a> {
    reason: &'a str,
    message: &'a str,
    advice: &'a str,
}

#[derive(Serialize)]
struct EdgeJson<'a> {
    caller: &'a str,
    callee: &'a str,
    requires: Vec<&'a str>,
    #[serde(flatten)]
    total: CallsJson,
    /// Of the requests that made any; null where none did.
    calls_per_request: Option<f64>,
    requests: Vec<RequestsJson<'a>>,
    versions: Vec<VersionJson<'a>>,
    instances: Vec<SeenJson<'a>>,
}

#[derive(Serialize)]
struct CallsJson {
    calls: u64,
    errors: u64,
    failures: BTreeMap<&'static str, u64>,
    retries: u64,
    fallbacks: u64,
    /// Those of the calls that were made in serving no request.
    background_calls: u64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
}

#[derive(Serialize)]
struct RequestsJson<'a> {
    method: &'a str,
    requests: u64,
    calls: u64,
    most_calls: u64,
}

#[derive(Serialize)]
struct VersionJson<'a> {
    /// Null where nobody answered, or did not say.
    version: Option<&'a str>,
    #[serde(flatten)]
    total: CallsJson,
    methods: Vec<MethodJson<'a>>,
}

#[derive(Serialize)]
struct MethodJson<'a> {
    method: &'a str,
    #[serde(flatten)]
    calls: CallsJson,
}

#[derive(Serialize)]
struct SeenJson<'a> {
    seen_by: &'a str,
    address: &'a str,
    version: Option<&'a str>,
    state: &'static str,
    why: &'a str,
    in_flight: u32,
}

impl<'a> Status<'a> {
    pub(super) fn new(instances: &'a [Instance], edges: &'a [EdgeSum]) -> Self {
        Self {
            instances: instances.iter().map(instance_json).collect(),
            edges: edges.iter().map(edge_json).collect(),
        }
    }
}

fn instance_json(instance: &Instance) -> InstanceJson<'_> {
    let description = instance.description.as_ref();
    let report = instance.report.as_ref();
    let requires = description.iter().flat_map(|told| &told.requirements);
    let packages = description.iter().flat_map(|told| &told.packages);
    let served = report.iter().flat_map(|report| &report.served);
    let concerns = report.iter().flat_map(|report| &report.concerns);
    InstanceJson {
        service: &instance.service,
        address: &instance.address,
        health: instance.health.as_str(),
        version: description.map(|told| told.version.as_str()),
        uptime_ms: report.map(|report| report.uptime_ms),
        requires: requires.map(|one| RequirementJson { service: &one.service, range: &one.range }).collect(),
        packages: packages.map(|one| PackageJson { name: &one.name, version: &one.version }).collect(),
        served: served
            .map(|one| ServedJson { method: &one.method, requests: one.requests, errors: one.errors })
            .collect(),
        concerns: concerns
            .map(|Concern { reason, message, advice }| ConcernJson { reason, message, advice })
            .collect(),
    }
}

fn edge_json(edge: &EdgeSum) -> EdgeJson<'_> {
    let requests = edge.requests.iter().map(|(method, sum)| RequestsJson {
        method,
        requests: sum.requests,
        calls: sum.calls,
        most_calls: sum.most_calls,
    });
    let versions = edge.by_version().into_iter().map(|(version, total)| VersionJson {
        version: Some(version).filter(|version| !version.is_empty()),
        total: CallsJson::from(&total),
        methods: methods(edge, version),
    });
    EdgeJson {
        caller: &edge.caller,
        callee: &edge.callee,
        requires: edge.requirements.iter().map(String::as_str).collect(),
        total: CallsJson::from(&edge.total()),
        calls_per_request: edge.calls_per_request(),
        requests: requests.collect(),
        versions: versions.collect(),
        instances: edge.instances.iter().map(|(seen_by, instance)| seen_json(seen_by, instance)).collect(),
    }
}

fn methods<'a>(edge: &'a EdgeSum, version: &str) -> Vec<MethodJson<'a>> {
    let of_version = edge.calls.iter().filter(|((answered, _), _)| answered == version);
    of_version.map(|((_, method), calls)| MethodJson { method, calls: CallsJson::from(calls) }).collect()
}

impl From<&CallSum> for CallsJson {
    fn from(sum: &CallSum) -> Self {
        let failures = sum.failures.iter().map(|(code, calls)| (code_name(Code::from(*code)), *calls));
        Self {
            calls: sum.calls,
            errors: sum.errors,
            failures: failures.collect(),
            retries: sum.retries,
            fallbacks: sum.fallbacks,
            background_calls: sum.calls.saturating_sub(sum.in_requests),
            p50_us: sum.percentile_us(50),
            p99_us: sum.percentile_us(99),
        }
    }
}

fn seen_json<'a>(seen_by: &'a str, instance: &'a EdgeInstance) -> SeenJson<'a> {
    SeenJson {
        seen_by,
        address: &instance.address,
        version: Some(instance.version.as_str()).filter(|version| !version.is_empty()),
        state: match instance.state() {
            EdgeInstanceState::Unspecified => "unknown",
            EdgeInstanceState::Serving => "serving",
            EdgeInstanceState::NotServing => "not_serving",
            EdgeInstanceState::Unreachable => "unreachable",
            EdgeInstanceState::Unusable => "unusable",
            EdgeInstanceState::Ejected => "ejected",
        },
        why: &instance.why,
        in_flight: instance.in_flight,
    }
}
