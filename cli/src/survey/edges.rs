//! Who calls whom: what all instances of a service have seen of another service, added up.

use std::collections::{BTreeMap, BTreeSet};

use mesh::errors::is_failure;
use mesh::proto::v1;
use tonic::Code;

use super::Instance;

/// All calls of one service to another.
#[derive(Clone, Debug, Default)]
pub(crate) struct EdgeSum {
    pub(crate) caller: String,
    pub(crate) callee: String,
    /// The ranges that the caller's instances require.
    pub(crate) requirements: BTreeSet<String>,
    /// By version and method.
    pub(crate) calls: BTreeMap<(String, String), CallSum>,
    /// By the method that the caller serves.
    pub(crate) requests: BTreeMap<String, RequestSum>,
    /// The instances of the callee, each with the address of the caller's instance that sees it so.
    pub(crate) instances: Vec<(String, v1::EdgeInstance)>,
}

/// Calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallSum {
    pub(crate) calls: u64,
    /// Calls at which the callee, or the way to it, failed. What it refused is none of them.
    pub(crate) errors: u64,
    pub(crate) failures: BTreeMap<i32, u64>,
    pub(crate) retries: u64,
    pub(crate) fallbacks: u64,
    pub(crate) in_requests: u64,
    latencies: BTreeMap<(u64, u64), u64>,
}

/// Requests of one kind, in serving which the callee was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestSum {
    pub(crate) requests: u64,
    pub(crate) calls: u64,
    pub(crate) most_calls: u64,
}

/// The edges that the instances report, by caller and callee.
pub(crate) fn edges(instances: &[Instance]) -> Vec<EdgeSum> {
    let mut sums: BTreeMap<(String, String), EdgeSum> = BTreeMap::new();
    for instance in instances {
        let report = instance.report.iter();
        for edge in report.flat_map(|report| &report.edges) {
            let key = (instance.service.clone(), edge.service.clone());
            let sum = sums.entry(key.clone()).or_default();
            (sum.caller, sum.callee) = key;
            sum.add(edge, &instance.address);
        }
    }
    sums.into_values().collect()
}

impl EdgeSum {
    fn add(&mut self, edge: &v1::Edge, seen_by: &str) {
        if !edge.requirement.is_empty() {
            self.requirements.insert(edge.requirement.clone());
        }
        for calls in &edge.calls {
            self.calls.entry((calls.version.clone(), calls.method.clone())).or_default().add(calls);
        }
        for requests in &edge.requests {
            let sum = self.requests.entry(requests.method.clone()).or_default();
            sum.requests += requests.requests;
            sum.calls += requests.calls;
            sum.most_calls = sum.most_calls.max(requests.most_calls);
        }
        self.instances.extend(edge.instances.iter().map(|instance| (seen_by.to_owned(), instance.clone())));
    }

    /// All its calls together.
    pub(crate) fn total(&self) -> CallSum {
        self.calls.values().fold(CallSum::default(), CallSum::and)
    }

    /// Its calls by version.
    pub(crate) fn by_version(&self) -> BTreeMap<&str, CallSum> {
        let mut sums: BTreeMap<&str, CallSum> = BTreeMap::new();
        for ((version, _), calls) in &self.calls {
            let sum = sums.remove(version.as_str()).unwrap_or_default();
            sums.insert(version, sum.and(calls));
        }
        sums
    }

    /// Calls for each request in serving which there was one.
    pub(crate) fn calls_per_request(&self) -> Option<f64> {
        let sum = self.requests.values().fold(RequestSum::default(), |sum, one| RequestSum {
            requests: sum.requests + one.requests,
            calls: sum.calls + one.calls,
            most_calls: sum.most_calls.max(one.most_calls),
        });
        sum.calls_per_request()
    }

    /// The instances of one state, each once.
    pub(crate) fn in_state(&self, state: v1::EdgeInstanceState) -> BTreeSet<&str> {
        let found = self.instances.iter().filter(|(_, instance)| instance.state() == state);
        found.map(|(_, instance)| instance.address.as_str()).collect()
    }
}

impl RequestSum {
    pub(crate) fn calls_per_request(&self) -> Option<f64> {
        ratio(self.calls, self.requests)
    }
}

impl CallSum {
    fn add(&mut self, calls: &v1::EdgeCalls) {
        self.calls += calls.calls;
        for failed in &calls.failures {
            *self.failures.entry(failed.code).or_default() += failed.calls;
            if is_failure(Code::from(failed.code)) {
                self.errors += failed.calls;
            }
        }
        self.retries += calls.retries;
        self.fallbacks += calls.fallbacks;
        self.in_requests += calls.calls_in_requests;
        for bucket in &calls.latencies {
            *self.latencies.entry((bucket.from_us, bucket.below_us)).or_default() += bucket.calls;
        }
    }

    fn and(mut self, other: &Self) -> Self {
        self.calls += other.calls;
        self.errors += other.errors;
        self.retries += other.retries;
        self.fallbacks += other.fallbacks;
        self.in_requests += other.in_requests;
        for (code, calls) in &other.failures {
            *self.failures.entry(*code).or_default() += calls;
        }
        for (bucket, calls) in &other.latencies {
            *self.latencies.entry(*bucket).or_default() += calls;
        }
        self
    }

    /// The share of errors, in percent.
    pub(crate) fn error_percent(&self) -> Option<f64> {
        ratio(self.errors.saturating_mul(100), self.calls)
    }

    /// The latency that this share of the calls, in percent, did not go over. It is known to about a fifth: calls of one bucket
    /// are taken to be spread over it evenly.
    pub(crate) fn percentile_us(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.latencies.values().sum();
        let wanted = all.saturating_mul(percent).div_ceil(100);
        let mut before = 0;
        for ((from_us, below_us), calls) in &self.latencies {
            if before + calls >= wanted {
                let width = below_us.saturating_sub(*from_us);
                return Some(from_us + width.saturating_mul(wanted - before) / calls.max(&1));
            }
            before += calls;
        }
        None
    }
}

/// A quotient to show, which need not be exact.
#[expect(clippy::cast_precision_loss, reason = "it is rounded to a few digits to be shown")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(from_us: u64, below_us: u64, calls: u64) -> v1::LatencyBucket {
        v1::LatencyBucket { from_us, below_us, calls }
    }

    fn caller(address: &str, edge: v1::Edge) -> Instance {
        let report = v1::ReportResponse { edges: vec![edge], ..Default::default() };
        Instance { report: Some(report), ..Instance::unreachable("purchase", address.to_owned()) }
    }

    fn edge(calls: u64, latencies: &[v1::LatencyBucket]) -> v1::Edge {
        let failures = vec![v1::EdgeFailures { code: 14, calls: 1 }, v1::EdgeFailures { code: 9, calls: 3 }];
        let of_method = |version: &str| v1::EdgeCalls {
            method: "a.A/Do".to_owned(),
            version: version.to_owned(),
            calls,
            failures: failures.clone(),
            retries: 2,
            latencies: latencies.to_vec(),
            ..Default::default()
        };
        v1::Edge {
            service: "arbiter".to_owned(),
            requirement: "^1.0".to_owned(),
            calls: vec![of_method("1.0.0"), of_method("1.0.1")],
            requests: vec![v1::EdgeRequests {
                method: "b.B/Buy".to_owned(),
                requests: 4,
                calls: 10,
                most_calls: 7,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn what_several_instances_of_a_service_have_seen_is_added_up() {
        let seen = [caller("a:1", edge(10, &[])), caller("b:1", edge(30, &[]))];
        let edges = edges(&seen);
        assert_eq!(
            (edges.len(), edges[0].caller.as_str(), edges[0].callee.as_str()),
            (1, "purchase", "arbiter")
        );
        let total = edges[0].total();
        // A refusal is a failure, and no error.
        assert_eq!((total.calls, total.errors, total.failures[&9], total.retries), (80, 4, 12, 8));
        assert_eq!(edges[0].by_version()["1.0.0"].calls, 40);
        assert_eq!(edges[0].calls_per_request(), Some(2.5));
        assert_eq!(total.error_percent(), Some(5.0));
    }

    #[test]
    fn percentiles_are_of_the_calls_of_all() {
        let seen = [
            caller("a:1", edge(1, &[bucket(100, 200, 49), bucket(1_000, 1_200, 1)])),
            caller("b:1", edge(1, &[bucket(100, 200, 49), bucket(8_000, 9_000, 1)])),
        ];
        let total = edges(&seen)[0].total();
        assert_eq!(total.percentile_us(49), Some(150));
        assert_eq!(total.percentile_us(99), Some(1_200));
        assert_eq!(total.percentile_us(100), Some(9_000));
        assert_eq!(CallSum::default().percentile_us(50), None);
    }
}
