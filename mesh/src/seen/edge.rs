//! The calls to one service, by method and by the version that answered.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderValue;
use opentelemetry::{KeyValue, StringValue};
use tonic::Code;

use super::latency::Latencies;
use super::{MAX_METHODS, MAX_VERSIONS, OTHER};
use crate::outbound::dispatch::InstanceReport;
use crate::rpc;
use crate::version::{Requirement, Version};

/// The codes of gRPC, OK included.
const CODES: usize = 17;
/// The views of one service that are kept: a process makes one for each way in which it calls it.
const MAX_VIEWS: usize = 16;

/// What is known of a service's instances now.
pub(crate) struct View {
    pub(crate) requirement: Requirement,
    pub(crate) instances: Vec<InstanceReport>,
}

/// Looks at the instances; none once nobody calls them any more.
type Look = Box<dyn Fn() -> Option<View> + Send + Sync>;

/// One service that is called.
pub(crate) struct Edge {
    name: StringValue,
    methods: RwLock<HashMap<Box<str>, Arc<Method>>>,
    other: Arc<Method>,
    requests: Mutex<BTreeMap<Box<str>, Requests>>,
    looks: Mutex<Vec<Look>>,
}

/// The requests of one method in serving which the service was called.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    pub(super) served: u64,
    pub(super) calls: u64,
    pub(super) most_calls: u64,
}

/// One method of the service.
#[derive(Debug)]
pub(crate) struct Method {
    /// `package.Service/Method`.
    pub(super) name: Box<str>,
    attributes: [KeyValue; 4],
    versions: RwLock<Vec<Arc<Calls>>>,
}

/// The calls of one method that one version answered, or the attempts that were made at it.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(super) version: StringValue,
    parsed: Option<Version>,
    pub(super) codes: [AtomicU64; CODES],
    pub(super) retries: AtomicU64,
    pub(super) fallbacks: AtomicU64,
    pub(super) in_requests: AtomicU64,
    pub(super) latencies: Latencies,
}

impl Edge {
    pub(super) fn new(name: &str) -> Self {
        let name = StringValue::from(Arc::<str>::from(name));
        let other = Arc::new(Method::new(&name, OTHER, OTHER));
        Self { name, methods: RwLock::default(), other, requests: Mutex::default(), looks: Mutex::default() }
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The service's name as it stands in metrics.
    pub(crate) fn peer(&self) -> KeyValue {
        KeyValue::new("peer.service", self.name.clone())
    }

    /// The method of a path. What machines ask each other is measured as everything else is, and not kept.
    pub(crate) fn method(&self, path: &str) -> Arc<Method> {
        let methods = self.methods.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(method) = methods.get(path) {
            return method.clone();
        }
        drop(methods);
        let (service, method) = rpc::split(path);
        if rpc::is_infrastructure(path) {
            return Arc::new(Method::new(&self.name, service, method));
        }
        let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
        if methods.len() >= MAX_METHODS {
            return methods.get(path).unwrap_or(&self.other).clone();
        }
        let new = || Arc::new(Method::new(&self.name, service, method));
        methods.entry(path.into()).or_insert_with(new).clone()
    }

    /// A request of the method `name` has ended, and made so many calls.
    pub(super) fn served(&self, name: &str, calls: u64) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if !requests.contains_key(name) {
            requests.insert(name.into(), Requests::default());
        }
        let Some(of_method) = requests.get_mut(name) else { return };
        of_method.served = of_method.served.saturating_add(1);
        of_method.calls = of_method.calls.saturating_add(calls);
        of_method.most_calls = of_method.most_calls.max(calls);
    }

    /// Has the instances looked at when a report is made.
    pub(crate) fn look(&self, look: impl Fn() -> Option<View> + Send + Sync + 'static) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MAX_VIEWS {
            looks.retain(|look| look().is_some());
        }
        if looks.len() < MAX_VIEWS {
            looks.push(Box::new(look));
        }
    }

    pub(super) fn views(&self) -> Vec<View> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.iter().filter_map(|look| look()).collect()
    }

    pub(super) fn methods(&self) -> Vec<Arc<Method>> {
        let methods = self.methods.read().unwrap_or_else(PoisonError::into_inner);
        methods.values().chain([&self.other]).cloned().collect()
    }

    pub(super) fn requests(&self) -> BTreeMap<Box<str>, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Edge").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Method {
    fn new(peer: &StringValue, service: &str, method: &str) -> Self {
        let name = if service == OTHER { OTHER.into() } else { format!("{service}/{method}").into() };
        let kept = |text: &str| StringValue::from(Arc::<str>::from(text));
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", kept(service)),
            KeyValue::new("rpc.method", kept(method)),
            KeyValue::new("peer.service", peer.clone()),
        ];
        Self { name, attributes, versions: RwLock::default() }
    }

    /// What tells the method in metrics.
    pub(crate) fn attributes(&self) -> &[KeyValue; 4] {
        &self.attributes
    }

    /// The calls that were answered by the version which the head of the answer tells.
    pub(crate) fn answered(&self, version: Option<&HeaderValue>) -> Arc<Calls> {
        let version = version.and_then(|version| version.to_str().ok()).unwrap_or_default();
        self.find(|calls| calls.version.as_str() == version, || version.to_owned())
    }

    /// The attempts at a version.
    pub(crate) fn at(&self, version: &Version) -> Arc<Calls> {
        self.find(|calls| calls.parsed.as_ref() == Some(version), || version.to_string())
    }

    fn find(&self, is_it: impl Fn(&Arc<Calls>) -> bool, text: impl FnOnce() -> String) -> Arc<Calls> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = versions.iter().find(|calls| is_it(calls)) {
            return calls.clone();
        }
        drop(versions);
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        // Another call may have been first.
        if let Some(calls) = versions.iter().find(|calls| is_it(calls)) {
            return calls.clone();
        }
        let text = if versions.len() < MAX_VERSIONS { text() } else { OTHER.to_owned() };
        if let Some(calls) = versions.iter().find(|calls| calls.version.as_str() == text) {
            return calls.clone();
        }
        let calls = Arc::new(Calls::new(&text));
        versions.push(calls.clone());
        calls
    }

    pub(super) fn versions(&self) -> Vec<Arc<Calls>> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Calls {
    fn new(version: &str) -> Self {
        Self {
            version: Arc::<str>::from(version).into(),
            parsed: version.parse().ok(),
            codes: [const { AtomicU64::new(0) }; CODES],
            retries: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            in_requests: AtomicU64::new(0),
            latencies: Latencies::new(),
        }
    }

    /// The version as it stands in metrics; none where nobody has told one.
    pub(crate) fn peer_version(&self) -> Option<KeyValue> {
        let is_told = !self.version.as_str().is_empty();
        is_told.then(|| KeyValue::new("mesh.peer.version", self.version.clone()))
    }

    /// A call has ended.
    pub(crate) fn ended(&self, code: Code, latency: Option<Duration>, in_request: bool) {
        let at = usize::try_from(i32::from(code)).unwrap_or(0);
        if let Some(count) = self.codes.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.in_requests.fetch_add(u64::from(in_request), Ordering::Relaxed);
        if let Some(latency) = latency {
            self.latencies.record(latency);
        }
    }

    /// An attempt has ended that was not the first of its call.
    pub(crate) fn retried(&self, is_fallback: bool) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.fallbacks.fetch_add(u64::from(is_fallback), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_versions_beyond_the_limits_are_counted_together() {
        let edge = Edge::new("echo");
        for number in 0..MAX_METHODS + 5 {
            let method = edge.method(&format!("/test.Echo/{number}"));
            method.at(&Version::new(1, 0, 0)).ended(Code::Ok, None, false);
        }
        assert_eq!(edge.methods().len(), MAX_METHODS + 1);
        assert_eq!(edge.other.at(&Version::new(1, 0, 0)).codes[0].load(Ordering::Relaxed), 5);
        let method = edge.method("/test.Echo/0");
        for patch in 0..20 {
            method.at(&Version::new(2, 0, patch)).retried(true);
        }
        let versions: Vec<_> = method.versions().iter().map(|calls| calls.version.to_string()).collect();
        assert_eq!((versions.len(), versions.last().map(String::as_str)), (MAX_VERSIONS + 1, Some(OTHER)));
    }

    #[test]
    fn a_version_is_the_same_whether_an_answer_tells_it_or_an_instance() {
        let method = Method::new(&"echo".into(), "test.Echo", "Say");
        method.answered(None).ended(Code::Unavailable, None, false);
        let head = HeaderValue::from_static("1.0.0-rc.1");
        method.answered(Some(&head)).ended(Code::Ok, None, false);
        method.at(&"1.0.0-rc.1".parse().unwrap()).retried(false);
        assert_eq!(method.versions().len(), 2);
    }

    #[test]
    fn what_machines_ask_each_other_is_not_kept() {
        let edge = Edge::new("echo");
        edge.method("/grpc.health.v1.Health/Check");
        edge.method("/gameshelf.mesh.v1.MeshService/Report");
        assert_eq!(edge.methods().len(), 1, "only what is not told apart");
    }
}
