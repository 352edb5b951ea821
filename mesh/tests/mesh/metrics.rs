//! What the edge to a service is measured with.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use mesh::environment::Environment;
use mesh::file::{FileConfig, Watched};
use mesh::inbound::InboundConfig;
use mesh::outbound::{DispatchConfig, Outbound, OutboundConfig};
use mesh::version::{Description, Version};
use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use tonic::Status;

use crate::cluster::{Member, ask, dispatch, quick};
use crate::support::{Echo, Peer, say, soon, text};

/// The versions that only this test has: other tests of the process are measured as well.
const NEWER: &str = "1.77.1";
const OLDER: &str = "1.77.0";

/// Values by metric and attributes, as they are exported.
#[derive(Clone, Debug, Default)]
struct Values(Arc<Mutex<BTreeMap<String, u64>>>);

impl Values {
    fn note<'a>(&self, name: &str, attributes: impl Iterator<Item = &'a KeyValue>, value: u64) {
        let mut told: Vec<_> = attributes
            .filter(|pair| pair.key.as_str().starts_with("mesh.") || pair.key.as_str() == "peer.service")
            .map(|pair| pair.value.to_string())
            .collect();
        told.sort();
        self.0.lock().unwrap().insert(format!("{name} {}", told.join(" ")), value);
    }

    fn get(&self, key: &str) -> Option<u64> {
        self.0.lock().unwrap().get(key).copied()
    }
}

impl PushMetricExporter for Values {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().for_each(|at| self.note(metric.name(), at.attributes(), at.value()));
                }
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().for_each(|at| self.note(metric.name(), at.attributes(), at.value()));
                }
                AggregatedMetrics::U64(MetricData::Histogram(all)) => {
                    all.data_points().for_each(|at| self.note(metric.name(), at.attributes(), at.sum()));
                }
                AggregatedMetrics::F64(MetricData::Histogram(all)) => {
                    all.data_points().for_each(|at| self.note(metric.name(), at.attributes(), at.count()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// What the process exports, and where it goes: there is one for all tests.
static EXPORTED: LazyLock<(SdkMeterProvider, Values)> = LazyLock::new(|| {
    let values = Values::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(values.clone()).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    (provider, values)
});

#[tokio::test]
async fn attempts_ejections_and_instances_are_counted_by_version() {
    let (provider, values) = &*EXPORTED;
    let newer = Member::failing(NEWER, Status::unavailable("not now")).await;
    let older = Member::well(OLDER).await;
    let config = DispatchConfig { breaker_base_ms: 3_600_000, breaker_max_ms: 3_600_000, ..quick() };
    let dispatch = dispatch(&[&newer, &older], "^1.77", &config).await;
    for _ in 0..20 {
        soon(ask(&dispatch)).await.unwrap();
    }
    provider.force_flush().unwrap();
    // The newer one is asked until it is ejected, and the older one each time.
    assert_eq!(values.get(&format!("mesh.client.attempts {NEWER} UNAVAILABLE echo")), Some(5));
    assert_eq!(values.get(&format!("mesh.client.attempts {OLDER} OK echo")), Some(20));
    assert_eq!(values.get(&format!("mesh.client.ejections {NEWER} echo")), Some(1));
    assert_eq!(values.get(&format!("mesh.client.instances {NEWER} echo ejected")), Some(1));
    assert_eq!(values.get(&format!("mesh.client.instances {OLDER} echo serving")), Some(1));
    // The call belongs to the version that has answered it.
    assert_eq!(values.get(&format!("rpc.client.call.duration {OLDER} echo")), Some(20));
    assert_eq!(values.get(&format!("rpc.client.call.duration {NEWER} echo")), None);
    calls_are_measured_by_request(values, provider).await;
}

/// The meter provider is the process's, so that one test looks at all of it.
async fn calls_are_measured_by_request(values: &Values, provider: &SdkMeterProvider) {
    let environment = Environment::system();
    let callee = Peer::start_as("1.77.2", &InboundConfig::default(), Echo::plain()).await;
    let outbound = OutboundConfig::default();
    let calls = Outbound::new("metered", &callee.address, &outbound, &environment).calls();
    let asks_twice = Echo::new(move |_| {
        let calls = calls.clone();
        async move {
            say(calls.clone(), text("")).await?;
            say(calls, text("")).await
        }
    });
    let description = Description::new("front", Version::new(1, 0, 0));
    let front = Peer::start_in(&environment, description, asks_twice).await;
    soon(say(front.outbound(&outbound).calls(), text(""))).await.unwrap();
    let measured = || {
        provider.force_flush().unwrap();
        values.get("mesh.server.calls_per_request metered")
    };
    let is_measured = async {
        while measured().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(is_measured).await;
    assert_eq!(measured(), Some(2));
    assert_eq!(values.get("rpc.client.call.duration 1.77.2 metered"), Some(2));
}

#[tokio::test]
async fn a_file_that_is_not_used_is_told_by_a_gauge() {
    let (provider, values) = &*EXPORTED;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("only-of-this-test");
    std::fs::write(&path, "1").unwrap();
    let config = FileConfig { interval_ms: 5, ..FileConfig::default() };
    let parse = |content: &[u8]| std::str::from_utf8(content).unwrap_or_default().parse::<u64>();
    let _watched = Watched::open(&path, config, &Environment::system(), parse).await.unwrap();
    let told = async |trouble| {
        let waiting = async {
            loop {
                provider.force_flush().unwrap();
                if values.get("mesh.file.trouble only-of-this-test") == Some(trouble) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(waiting).await;
    };
    told(0).await;
    std::fs::write(&path, "one").unwrap();
    told(1).await;
    std::fs::write(&path, "2").unwrap();
    told(0).await;
}
