//! One trace through every hop.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use mesh::environment::Environment;
use mesh::inbound::InboundConfig;
use mesh::outbound::{Outbound, OutboundConfig};
use opentelemetry::trace::{SpanId, SpanKind, Status as SpanStatus, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tonic::{Request, Status};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::cluster::{Member, ask, dispatch, quick};
use crate::support::{Echo, Peer, SAY, Text, say, soon, status_of, text};

/// While there is only one subscriber, tracing lets the thread that comes first to a span decide for all whether it is
/// made; the thread of another test has none and would decide against it.
static ANOTHER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Spans as they are exported.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Collector {
    /// Records what happens on this thread, which is all of a test on a current-thread runtime.
    fn install(&self) -> (SdkTracerProvider, DefaultGuard) {
        LazyLock::force(&ANOTHER);
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder().with_simple_exporter(self.clone()).build();
        let _ = provider.tracer("test");
        let subscriber = tracing_subscriber::registry().with(mesh::telemetry::span_layer(&provider));
        (provider, tracing::subscriber::set_default(subscriber))
    }

    async fn wait_for(&self, count: usize) -> Vec<SpanData> {
        soon(async {
            while self.0.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
        self.0.lock().unwrap().clone()
    }
}

fn attributes(span: &SpanData) -> HashMap<String, String> {
    span.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
}

/// A peer that asks another one.
async fn forwarding(next: &Peer, config: &OutboundConfig) -> Peer {
    let next = Outbound::new("next", &next.address, config, &Environment::system());
    let echo = Echo::new(move |request: Request<Text>| {
        let next = next.clone();
        async move { say(next.calls(), request.into_inner()).await }
    });
    Peer::start(&InboundConfig::default(), echo).await
}

#[tokio::test]
async fn a_call_over_two_hops_is_one_trace() {
    let collector = Collector::default();
    let (_provider, _guard) = collector.install();
    let last = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let first = forwarding(&last, &OutboundConfig::default()).await;
    let answer = soon(say(first.outbound(&OutboundConfig::default()).calls(), text("hello"))).await;
    assert_eq!(answer.unwrap().text, "hello");

    let spans = collector.wait_for(4).await;
    assert_eq!(spans.len(), 4);
    let trace = spans[0].span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
    // From the root on, each span is the parent of the next one.
    let mut parent = SpanId::INVALID;
    for kind in [SpanKind::Client, SpanKind::Server, SpanKind::Client, SpanKind::Server] {
        let span = spans.iter().find(|span| span.parent_span_id == parent).unwrap();
        assert_eq!(span.span_kind, kind);
        assert_eq!(span.name, "test.v1.Echo/Say");
        let attributes = attributes(span);
        assert_eq!(attributes["rpc.system"], "grpc");
        assert_eq!(attributes["rpc.service"], "test.v1.Echo");
        assert_eq!(attributes["rpc.method"], "Say");
        assert_eq!(attributes["rpc.grpc.status_code"], "0");
        assert_eq!(span.status, SpanStatus::Unset);
        parent = span.span_context.span_id();
    }
}

#[tokio::test]
async fn an_error_is_marked_on_both_sides_and_every_retry_is_an_event() {
    let collector = Collector::default();
    let (_provider, _guard) = collector.install();
    let echo = Echo::new(|_| async { Err(Status::unavailable("not now")) });
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    let config = OutboundConfig { backoff_base_ms: 1, ..OutboundConfig::default() };
    assert!(soon(say(peer.outbound(&config).calls(), text(""))).await.is_err());

    let spans = collector.wait_for(4).await;
    let (calls, served): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.span_kind == SpanKind::Client);
    assert_eq!((calls.len(), served.len()), (1, 3));
    for span in &spans {
        assert!(matches!(span.status, SpanStatus::Error { .. }), "{:?}", span.status);
        assert_eq!(attributes(span)["rpc.grpc.status_code"], "14");
        assert_eq!(attributes(span)["error.type"], "UNAVAILABLE");
    }
    assert_eq!(calls[0].events.iter().filter(|event| event.name == "retry").count(), 2);
    assert_eq!(attributes(calls[0])["mesh.attempts"], "3");
    assert!(served.iter().all(|span| span.parent_span_id == calls[0].span_context.span_id()));
}

#[tokio::test]
async fn a_fallback_is_an_event_that_tells_who_was_tried_and_why() {
    let collector = Collector::default();
    let (_provider, _guard) = collector.install();
    let newer = Member::failing("1.0.1", Status::unavailable("not now")).await;
    let older = Member::well("1.0.0").await;
    let dispatch = dispatch(&[&newer, &older], "^1.0", &quick()).await;
    soon(ask(&dispatch)).await.unwrap();

    let spans = collector.wait_for(3).await;
    let call = spans.iter().find(|span| span.span_kind == SpanKind::Client).unwrap();
    assert_eq!(attributes(call)["peer.service"], "echo");
    let event = call.events.iter().find(|event| event.name == "fallback").unwrap();
    let told: HashMap<_, _> =
        event.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect();
    assert_eq!(told["mesh.why"], "UNAVAILABLE");
    assert_eq!(told["mesh.tried"], format!("{}@1.0.1=UNAVAILABLE", newer.authority()));
    // Both attempts belong to the one call.
    let served = spans.iter().filter(|span| span.parent_span_id == call.span_context.span_id());
    assert_eq!(served.count(), 2);
}

#[tokio::test]
async fn a_refusal_is_no_failure_of_the_server() {
    let collector = Collector::default();
    let (_provider, _guard) = collector.install();
    let echo = Echo::new(|_| async { Err(Status::failed_precondition("no")) });
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    assert!(soon(say(peer.outbound(&OutboundConfig::default()).calls(), text(""))).await.is_err());
    for span in collector.wait_for(2).await {
        let failed = matches!(span.status, SpanStatus::Error { .. });
        assert_eq!(failed, span.span_kind == SpanKind::Client, "{span:?}");
    }
}

#[tokio::test]
async fn health_checks_are_not_traced_by_the_server() {
    let collector = Collector::default();
    let (_provider, _guard) = collector.install();
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let outbound = peer.outbound(&OutboundConfig::default());
    let mut health = tonic_health::pb::health_client::HealthClient::new(outbound.calls());
    soon(health.check(tonic_health::pb::HealthCheckRequest::default())).await.unwrap();
    soon(say(outbound.calls(), text(""))).await.unwrap();
    let spans = collector.wait_for(3).await;
    let served: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Server).collect();
    assert_eq!(served.len(), 1);
    assert_eq!(served[0].name, "test.v1.Echo/Say");
}

#[tokio::test]
async fn a_process_that_records_nothing_passes_the_context_on() {
    let seen = Arc::new(Mutex::new(None));
    let echo = {
        let seen = seen.clone();
        Echo::new(move |request: Request<Text>| {
            let traceparent = request.metadata().get("traceparent").cloned();
            *seen.lock().unwrap() = traceparent.map(|value| value.to_str().unwrap().to_owned());
            async move { Ok(text(mesh::trace::current_traceparent().unwrap_or_default())) }
        })
    };
    let last = Peer::start(&InboundConfig::default(), echo).await;
    let first = forwarding(&last, &OutboundConfig::default()).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = soon(first.raw(SAY, &[("traceparent", traceparent)], b"")).await;
    assert_eq!(status_of(answer).await.code(), tonic::Code::Ok);
    assert_eq!(seen.lock().unwrap().as_deref(), Some(traceparent));
}
