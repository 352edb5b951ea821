//! A purchase is one trace, also when it is finished after a restart.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use gameshelf::proto::purchase::v1::OrderState;
use opentelemetry::Value;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Instrument;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;

use crate::shop::{World, purchase};

/// Keeps the spans that ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collector {
    spans: Arc<Mutex<Vec<SpanData>>>,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    /// The lines that were logged and have this in them.
    pub(crate) fn logged(&self, part: &str) -> Vec<String> {
        let log = String::from_utf8(self.log.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl SpanExporter for Collector {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        self.spans.lock().unwrap().extend(spans);
        Ok(())
    }
}

/// The collector of all spans of this process. Every test sets it up before anything else: a span that is first met
/// without a subscriber may stay off in all threads.
pub(crate) fn collector() -> &'static Collector {
    static COLLECTOR: LazyLock<Collector> = LazyLock::new(|| {
        // As mesh::telemetry does for a process.
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let collector = Collector::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(collector.clone()).build();
        let log = Arc::clone(&collector.log);
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || LogWriter(Arc::clone(&log)))
            .with_filter(LevelFilter::INFO);
        let subscriber =
            tracing_subscriber::registry().with(mesh::telemetry::span_layer(&provider)).with(lines);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        collector
    });
    &COLLECTOR
}

/// Adds to the log.
struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_purchase_finished_after_a_restart_is_one_trace() {
    let world = World::new(&["--buy-wait-ms=20"]).await;
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let buying = tracing::info_span!("the buyer");
    let order = shop.bought(&request).instrument(buying).await;
    shop.stop().await.unwrap();
    world.script.set_arbiter_down(false);
    let shop = world.open().await;
    shop.until(&order.order_id, OrderState::Completed).await;
    shop.stop().await.unwrap();

    let spans = collector().spans.lock().unwrap().clone();
    let buyer = spans.iter().find(|span| span.name == "the buyer").expect("the buyer's span");
    let trace_id = buyer.span_context.trace_id();
    let order_id = Value::from(order.order_id);
    let is_of_order = |span: &&SpanData| {
        span.attributes
            .iter()
            .any(|attribute| attribute.key.as_str() == "order_id" && attribute.value == order_id)
    };
    let spans: Vec<_> = spans.iter().filter(is_of_order).collect();
    for step in ["order authorize", "order grant", "order capture"] {
        let steps: Vec<_> = spans.iter().filter(|span| span.name == step).collect();
        assert!(!steps.is_empty(), "{step} is a span");
        assert!(steps.iter().all(|span| span.span_context.trace_id() == trace_id), "{step} is in the trace");
        let has = |key: &str| {
            steps.iter().all(|span| span.attributes.iter().any(|attribute| attribute.key.as_str() == key))
        };
        assert!(has("step") && has("attempt"), "{steps:?}");
    }
    for seen in world.script.seen() {
        let traceparent = seen.traceparent.expect("every call carries the trace");
        assert!(traceparent.contains(&trace_id.to_string()), "{}: {traceparent}", seen.call);
    }
}
