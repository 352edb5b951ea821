//! A collector that takes traces and metrics and drops them, so that the servers are measured with their telemetry on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::thread;

use anyhow::Context;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// The share of traces that is recorded.
const SAMPLED_SHARE: &str = "0.01";

/// The variables by which a server is told to export its telemetry. The collector is started with the first call, and runs as
/// long as this process.
pub(super) fn variables() -> anyhow::Result<[(&'static str, String); 3]> {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    let address = match ADDRESS.get() {
        Some(address) => *address,
        None => *ADDRESS.get_or_init({
            let started = start().context("the collector of telemetry did not start")?;
            move || started
        }),
    };
    Ok([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        ("OTEL_TRACES_SAMPLER_ARG", SAMPLED_SHARE.to_owned()),
    ])
}

fn start() -> anyhow::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Sink))
        .add_service(MetricsServiceServer::new(Sink));
    // It ends with the process: nothing of it is worth waiting for.
    thread::spawn(move || runtime.block_on(server.serve_with_incoming(TcpIncoming::from(listener))));
    Ok(address)
}

#[derive(Clone, Copy, Debug)]
struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
