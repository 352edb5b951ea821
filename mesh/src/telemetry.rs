//! Traces, metrics and logs of a process.
//!
//! Traces and metrics leave by OTLP over gRPC, as the standard environment variables say:
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`, `…_METRICS_ENDPOINT`), `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and its `_ARG`, `OTEL_SDK_DISABLED`. Without an endpoint nothing
//! is recorded and nothing is exported. Logs go to standard error: `RUST_LOG` filters, `GAMESHELF_LOG_FORMAT` is `text` or
//! `json`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{Targets, dynamic_filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::environment::SystemRandom;
use crate::sampling::{self, Viewers};

/// The target of spans that are made for each call. The log leaves them out unless it is asked for them: for the log alone they
/// would cost more than they tell.
pub const CALL_TARGET: &str = "mesh::rpc";

/// How long the last spans and metrics may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Libraries whose spans would stand between ours, or would trace the exporter itself.
const QUIET: [&str; 6] = ["h2", "hyper", "hyper_util", "tower", "tonic", "opentelemetry"];

/// Whether nobody reads the metrics of this process; where telemetry was set up elsewhere, in a test say, somebody may.
static UNMEASURED: AtomicBool = AtomicBool::new(false);

/// Whether it is worth putting together what a measurement of one call is told with.
pub(crate) fn is_measured() -> bool {
    !UNMEASURED.load(Ordering::Relaxed)
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The exporter does not accept its settings.
    #[error("the OTLP exporter cannot be made; see the OTEL_EXPORTER_OTLP_… variables: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The process has a subscriber already.
    #[error("the process has set up its telemetry already")]
    Twice,
}

/// The telemetry of the process; see [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Sets up logs, traces and metrics for the whole process, once. Must run inside a runtime that lives until
/// [`Telemetry::shutdown`] has returned.
///
/// # Errors
/// When the exporter refuses its settings, or when this was called before.
pub fn init(service_name: &'static str) -> Result<Telemetry, TelemetryError> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let traces = if exports("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        Some(tracer_provider(service_name)?)
    } else {
        None
    };
    let metrics = if exports("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") {
        Some(meter_provider(service_name)?)
    } else {
        None
    };
    if let Some(provider) = &traces {
        global::set_tracer_provider(provider.clone());
    }
    match &metrics {
        Some(provider) => global::set_meter_provider(provider.clone()),
        None => UNMEASURED.store(true, Ordering::Relaxed),
    }
    sampling::seen_by(Viewers { log: log_shows_calls(), traces: traces.is_some() });
    let log = tracing_subscriber::registry().with(log_layer());
    // Not an optional layer: one that is not there makes every place that is disabled be asked again and again.
    let initialized = match &traces {
        Some(provider) => log.with(span_layer(provider)).try_init(),
        None => log.try_init(),
    };
    initialized.map_err(|_| TelemetryError::Twice)?;
    log_panics();
    Ok(Telemetry { traces, metrics })
}

impl Telemetry {
    /// Sends what is left, for at most a few seconds, and ends the export. Call it while the runtime still runs.
    pub async fn shutdown(self) {
        let flush = tokio::task::spawn_blocking(move || {
            if let Some(traces) = &self.traces
                && let Err(error) = traces.shutdown_with_timeout(FLUSH_TIMEOUT)
            {
                tracing::warn!(%error, "the last spans were not exported");
            }
            if let Some(metrics) = &self.metrics
                && let Err(error) = metrics.shutdown_with_timeout(FLUSH_TIMEOUT)
            {
                tracing::warn!(%error, "the last metrics were not exported");
            }
        });
        // The flush runs on a thread of its own; a collector that hangs must not keep the process from ending.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, flush).await;
    }
}

/// The layer that makes OpenTelemetry spans of tracing's, for a subscriber made elsewhere (a test's, say).
#[must_use]
pub fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let targets =
        QUIET.into_iter().fold(Targets::new().with_default(LevelFilter::INFO), |targets, library| {
            targets.with_target(library, LevelFilter::OFF)
        });
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("mesh"))
        // Where in the source a span was made costs six attributes on each, and its name says it already.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(dynamic_filter_fn(|metadata, context| {
            sampling::is_wanted(metadata, context, &SystemRandom)
        }))
        .with_filter(targets)
}

fn log_layer<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    // Unless asked for, the spans of calls are not made for the log alone: they would cost more than they tell.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,mesh::rpc=warn,sqlx::postgres::notice=warn"));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::env::var("GAMESHELF_LOG_FORMAT").is_ok_and(|format| format == "json") {
        layer.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        layer.with_ansi(false).with_filter(filter).boxed()
    }
}

/// Whether the log was asked for the spans of calls.
fn log_shows_calls() -> bool {
    let Ok(filter) = std::env::var(EnvFilter::DEFAULT_ENV) else { return false };
    // A filter that names spans or fields is no list of targets; it may want them.
    filter.parse::<Targets>().map_or(true, |targets| targets.would_enable(CALL_TARGET, &Level::INFO))
}

/// A panic is told once, as every other event is.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        tracing::error!(target: "mesh::panic", place, "panic: {text}");
    }));
}

fn exports(specific: &str) -> bool {
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    // The SDK does not know the switch.
    let disabled =
        std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.trim().eq_ignore_ascii_case("true"));
    !disabled && (set("OTEL_EXPORTER_OTLP_ENDPOINT") || set(specific))
}

fn tracer_provider(service_name: &'static str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_tonic().build()?;
    let builder =
        SdkTracerProvider::builder().with_resource(resource(service_name)).with_batch_exporter(exporter);
    let builder = match sampling::take_over() {
        Some(sampler) => builder.with_sampler(sampler),
        None => builder,
    };
    Ok(builder.build())
}

fn meter_provider(service_name: &'static str) -> Result<SdkMeterProvider, TelemetryError> {
    let exporter = MetricExporter::builder().with_tonic().build()?;
    Ok(SdkMeterProvider::builder()
        .with_resource(resource(service_name))
        .with_periodic_exporter(exporter)
        .build())
}

/// The resource as the environment says; the name of the service is ours only where the environment has none.
fn resource(service_name: &'static str) -> Resource {
    let given = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|text| text.contains("service.name="));
    let builder = Resource::builder();
    if given { builder.build() } else { builder.with_service_name(service_name).build() }
}
