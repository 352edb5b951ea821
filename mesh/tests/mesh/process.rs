//! The frame of a process. These tests run this very test executable as a process of its own: see [`child`].

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use clap::Parser;
use mesh::inbound::{InboundConfig, Server};
use mesh::outbound::{Address, Outbound, OutboundConfig};
use mesh::process::{EXIT_CONFIGURATION, EXIT_FAILURE, Failure, ProcessConfig, run_service};
use mesh::version::{Description, Version};
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
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::support::{Echo, SERVICE, say, soon, text};

/// The arguments of a child, in one environment variable.
const ARGUMENTS: &str = "MESH_TEST_ARGUMENTS";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    process: ProcessConfig,
    /// Fail with an error of the service's own.
    #[arg(long)]
    fail: bool,
    /// Do not stop when told to.
    #[arg(long)]
    stuck: bool,
    /// State this version.
    #[arg(long)]
    described: Option<Version>,
}

#[test]
#[ignore = "a process that other tests start"]
fn child() {
    let arguments = std::env::var(ARGUMENTS).unwrap();
    let arguments = Arguments::parse_from(std::iter::once("child").chain(arguments.split(' ')));
    let (fail, stuck) = (arguments.fail, arguments.stuck);
    let code = run_service("echo", &arguments.process, |environment, listener, shutdown| async move {
        if fail {
            return Err(Failure::new("the store is gone", EXIT_FAILURE));
        }
        let shutdown = if stuck { CancellationToken::new() } else { shutdown };
        let server = Server::new(&[SERVICE], &InboundConfig::default(), &environment);
        let server = match arguments.described {
            Some(version) => server.described(Description::new("echo", version)),
            None => server,
        };
        server.health().set_serving(true);
        Ok(server.serve(listener, Routes::new(Echo::plain()), &[], shutdown).await?)
    });
    let code = [0, EXIT_FAILURE, EXIT_CONFIGURATION].into_iter().find(|known| ExitCode::from(*known) == code);
    std::process::exit(code.map_or(99, i32::from));
}

/// A child that is killed with the test.
pub(crate) struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Process {
    pub(crate) fn start(arguments: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["process::child", "--exact", "--ignored", "--nocapture"])
            .env(ARGUMENTS, arguments)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Waits until it listens, and gives its address.
    pub(crate) fn address(&mut self) -> Address {
        let line = self.line_with("listening");
        let (_, address) = line.split_once("address=").unwrap();
        address.trim().parse().unwrap()
    }

    fn line_with(&mut self, word: &str) -> String {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended without {word:?}");
        }
        line
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_ends_the_process_in_good_order() {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start("--listen 127.0.0.1:0", &[]);
        process.address();
        process.signal(signal);
        let (status, rest) = process.end();
        assert_eq!(status.code(), Some(0), "{rest}");
        assert!(rest.contains("draining") && rest.contains("stopped"), "{rest}");
    }
}

#[test]
fn the_same_signal_a_second_time_ends_the_process_at_once() {
    let mut process = Process::start("--listen 127.0.0.1:0 --stuck", &[]);
    process.address();
    // Two different ones are one wish: a parent passes on the ctrl-C that its child has received as well.
    for signal in ["-INT", "-TERM"] {
        process.signal(signal);
        process.line_with("stopping");
    }
    assert!(process.child.try_wait().unwrap().is_none());
    process.signal("-INT");
    assert_eq!(process.end().0.code(), Some(130));
}

#[test]
fn the_end_of_the_standard_input_ends_the_process_only_where_asked_for() {
    let mut process = Process::start("--listen 127.0.0.1:0 --exit-on-stdin-close", &[]);
    process.address();
    drop(process.child.stdin.take());
    assert_eq!(process.end().0.code(), Some(0));

    let mut process = Process::start("--listen 127.0.0.1:0", &[]);
    process.address();
    drop(process.child.stdin.take());
    process.signal("-TERM");
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(0));
    assert!(rest.contains("SIGTERM"), "{rest}");
}

#[test]
fn a_process_that_reads_its_input_still_ends_on_a_signal() {
    let mut process = Process::start("--listen 127.0.0.1:0 --exit-on-stdin-close", &[]);
    process.address();
    process.signal("-TERM");
    assert_eq!(process.end().0.code(), Some(0));
}

#[test]
fn a_port_in_use_is_one_clear_sentence_and_the_code_of_a_configuration() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (status, text) = Process::start(&format!("--listen {address}"), &[]).end();
    assert_eq!(status.code(), Some(i32::from(EXIT_CONFIGURATION)));
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0].contains(&address.to_string()) && errors[0].contains("--listen"), "{text}");
}

#[test]
fn an_error_of_the_service_is_one_sentence_and_its_code() {
    let (status, text) = Process::start("--listen 127.0.0.1:0 --fail", &[]).end();
    assert_eq!(status.code(), Some(i32::from(EXIT_FAILURE)));
    assert!(text.lines().any(|line| line == "error: the store is gone"), "{text}");
}

#[derive(Clone)]
struct Collector {
    spans: mpsc::Sender<ExportTraceServiceRequest>,
    metrics: mpsc::Sender<ExportMetricsServiceRequest>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.spans.send(request.into_inner()).await.map_err(|_| Status::internal("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.send(request.into_inner()).await.map_err(|_| Status::internal("the test is over"))?;
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// What a collector was sent.
struct Exported {
    spans: mpsc::Receiver<ExportTraceServiceRequest>,
    metrics: mpsc::Receiver<ExportMetricsServiceRequest>,
}

async fn collector() -> (String, Exported) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let ((spans, spans_out), (metrics, metrics_out)) = (mpsc::channel(100), mpsc::channel(100));
    let collector = Collector { spans, metrics };
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector));
    tokio::spawn(server.serve_with_incoming(incoming));
    (endpoint, Exported { spans: spans_out, metrics: metrics_out })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_and_metrics_are_exported_before_the_process_ends() {
    let (endpoint, mut exported) = collector().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        // The batch would wait for a minute by itself.
        ("OTEL_BSP_SCHEDULE_DELAY", "60000"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
    ];
    let mut process = Process::start("--listen 127.0.0.1:0", &variables);
    let address = process.address();
    let environment = mesh::environment::Environment::system();
    let outbound = Outbound::new("echo", &address, &OutboundConfig::default(), &environment);
    soon(say(outbound.calls(), text("hello"))).await.unwrap();
    process.signal("-TERM");
    let (status, rest) = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{rest}");

    let request = soon(exported.spans.recv()).await.unwrap();
    let spans = &request.resource_spans[0];
    let resource = format!("{:?}", spans.resource);
    assert!(resource.contains("\"echo\"") && resource.contains("deployment.environment"), "{resource}");
    let names: Vec<_> =
        spans.scope_spans.iter().flat_map(|scope| &scope.spans).map(|span| &span.name).collect();
    assert_eq!(names, ["test.v1.Echo/Say"]);

    let request = soon(exported.metrics.recv()).await.unwrap();
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let names: Vec<_> = scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.as_str()).collect();
    for name in ["rpc.server.call.duration", "rpc.server.active_requests"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_sdk_exports_nothing_and_a_dead_collector_does_not_hold_the_end_up() {
    let (endpoint, mut exported) = collector().await;
    let unsampled =
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()), ("OTEL_TRACES_SAMPLER", "always_off")];
    let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "true")];
    // A listener that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    let hanging = [("OTEL_EXPORTER_OTLP_ENDPOINT", hanging.as_str())];
    for variables in [&unsampled[..], &disabled[..], &hanging[..]] {
        let mut process = Process::start("--listen 127.0.0.1:0", variables);
        let address = process.address();
        let environment = mesh::environment::Environment::system();
        let outbound = Outbound::new("echo", &address, &OutboundConfig::default(), &environment);
        soon(say(outbound.calls(), text("hello"))).await.unwrap();
        process.signal("-TERM");
        let ended = tokio::task::spawn_blocking(|| process.end());
        let (status, rest) = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{rest}");
    }
    assert!(exported.spans.try_recv().is_err());
    assert!(exported.metrics.try_recv().is_err());
}
