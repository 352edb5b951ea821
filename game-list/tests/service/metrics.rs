//! What is measured of the catalogue that purchase gives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use tempfile::tempdir;

use crate::arbiter::FakeArbiter;
use crate::purchase::{FakePurchase, catalog};
use crate::support::{GameList, eventually};

/// The name of the copy: other tests of the process are measured as well.
const NAME: &str = "measured";

/// Gauges of that copy by their names, as they are exported.
#[derive(Clone, Debug, Default)]
struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

impl Gauges {
    fn note<'a>(&self, name: &str, mut attributes: impl Iterator<Item = &'a KeyValue>, value: f64) {
        if attributes.any(|pair| pair.key.as_str() == "copy" && pair.value.as_str() == NAME) {
            self.0.lock().unwrap().insert(name.to_owned(), value);
        }
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap().get(name).copied()
    }
}

impl PushMetricExporter for Gauges {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            match metric.data() {
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().for_each(|at| self.note(metric.name(), at.attributes(), at.value()));
                }
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => gauge.data_points().for_each(|at| {
                    let value = u32::try_from(at.value()).unwrap_or(u32::MAX);
                    self.note(metric.name(), at.attributes(), value.into());
                }),
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

#[tokio::test]
async fn the_age_of_the_catalogue_is_told_across_a_restart_without_purchase() {
    let gauges = Gauges::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(gauges.clone()).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    let told = |name: &str| {
        provider.force_flush().unwrap();
        gauges.get(&format!("gameshelf.game_list.catalog.{name}"))
    };
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    arbiter.grant("me", "a");
    let mut purchase = FakePurchase::start(catalog("First", &["a"]));
    let flag = purchase.flag();
    let flags = ["--catalog-interval-ms=5", "--copy-name=measured", &flag];
    let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
    eventually("an age is told, and no trouble", || told("age").is_some() && told("trouble") == Some(0.0))
        .await;
    let asked = purchase.world().asked;
    eventually("it is on disk", || purchase.world().asked > asked + 1).await;
    purchase.go_down();
    eventually("trouble is told", || told("trouble") == Some(1.0)).await;
    game_list.kill().await;

    let before = told("age").unwrap();
    let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
    eventually("it grows older", || told("age").is_some_and(|age| age > before + 0.2)).await;
    purchase.go_up();
    eventually("it is young again", || {
        told("trouble") == Some(0.0) && told("age").is_some_and(|age| age < 0.2)
    })
    .await;
    game_list.stop().await;
}
