//! A collector of traces inside the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What the tests look at of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) trace_id: Vec<u8>,
    pub(super) id: Vec<u8>,
    /// Empty for the root of a trace.
    pub(super) parent_id: Vec<u8>,
    pub(super) attributes: BTreeMap<String, String>,
    /// The names, in the order of time.
    pub(super) events: Vec<String>,
    /// The spans that it is linked with.
    pub(super) links: Vec<Vec<u8>>,
}

/// Receives spans on a port of its own for as long as it lives.
pub(super) struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    endpoint: String,
    _runtime: Runtime,
}

impl Collector {
    pub(super) fn start() -> Self {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let receiver = TraceServiceServer::new(Receiver { spans: Arc::clone(&spans) });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let guard = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let endpoint = format!("http://{}", incoming.local_addr().unwrap());
        runtime.spawn(Server::builder().add_service(receiver).serve_with_incoming(incoming));
        drop(guard);
        Self { spans, endpoint, _runtime: runtime }
    }

    /// What tells services of it: the standard variables.
    pub(super) fn environment(&self) -> [(&str, &str); 2] {
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "100")]
    }

    /// All that was received so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource_spans in request.into_inner().resource_spans {
            let resource =
                attributes(resource_spans.resource.map(|resource| resource.attributes).unwrap_or_default());
            let service = resource.get("service.name").cloned().unwrap_or_default();
            let received = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(received.map(|span| read(&service, span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(service: &str, mut span: otlp::Span) -> Span {
    span.events.sort_by_key(|event| event.time_unix_nano);
    Span {
        service: service.to_owned(),
        name: span.name,
        trace_id: span.trace_id,
        id: span.span_id,
        parent_id: span.parent_span_id,
        attributes: attributes(span.attributes),
        events: span.events.into_iter().map(|event| event.name).collect(),
        links: span.links.into_iter().map(|link| link.span_id).collect(),
    }
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: AnyValue| match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|entry| (entry.key, entry.value.map(text).unwrap_or_default())).collect()
}
