//! A service written by hand, so that no generated code is needed, and peers that serve it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mesh::environment::{Connecting, Connector, Environment, Tcp};
use mesh::inbound::{Concerns, Health, InboundConfig, ServeError, Server};
use mesh::outbound::{Address, Outbound, OutboundConfig};
use mesh::version::{Description, Version};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub(crate) const SERVICE: &str = "test.v1.Echo";
pub(crate) const SAY: &str = "/test.v1.Echo/Say";
pub(crate) const FOLLOW: &str = "/test.v1.Echo/Follow";
pub(crate) const REPEAT: &str = "/test.v1.Echo/Repeat";

/// The one message of the tests.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

pub(crate) fn text(text: impl Into<String>) -> Text {
    Text { text: text.into() }
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Text>, Status>> + Send>>;
pub(crate) type Follow = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;

/// The service: one unary method and one server stream, each a closure of the test, and one method that answers a stream with the
/// same stream.
#[derive(Clone)]
pub(crate) struct Echo {
    say: Arc<dyn Fn(Request<Text>) -> Answer + Send + Sync>,
    follow: Arc<dyn Fn() -> Follow + Send + Sync>,
    max_message_bytes: usize,
}

impl Echo {
    pub(crate) fn new<F, Fut>(say: F) -> Self
    where
        F: Fn(Request<Text>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Text, Status>> + Send + 'static,
    {
        let say = move |request| -> Answer {
            let answer = say(request);
            Box::pin(async move { answer.await.map(Response::new) })
        };
        Self {
            say: Arc::new(say),
            follow: Arc::new(|| Box::pin(futures_util::stream::empty())),
            max_message_bytes: 1 << 20,
        }
    }

    /// A service that answers with what it is asked.
    pub(crate) fn plain() -> Self {
        Self::new(|request: Request<Text>| async move { Ok(request.into_inner()) })
    }

    pub(crate) fn following<S>(mut self, follow: impl Fn() -> S + Send + Sync + 'static) -> Self
    where
        S: Stream<Item = Result<Text, Status>> + Send + 'static,
    {
        self.follow = Arc::new(move || Box::pin(follow()));
        self
    }
}

impl NamedService for Echo {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Text, Text>::default())
                .apply_max_message_size_config(Some(echo.max_message_bytes), None);
            Ok(match request.uri().path() {
                SAY => grpc.unary(tower::service_fn(|request| (echo.say)(request)), request).await,
                FOLLOW => {
                    let follow = |_: Request<Text>| {
                        let stream = (echo.follow)();
                        async { Ok(Response::new(stream)) }
                    };
                    grpc.server_streaming(tower::service_fn(follow), request).await
                }
                REPEAT => {
                    let repeat = |request: Request<tonic::Streaming<Text>>| async {
                        Ok(Response::new(request.into_inner()))
                    };
                    grpc.streaming(tower::service_fn(repeat), request).await
                }
                // As generated code answers for a method that is not there.
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// Counts the connections that are made.
#[derive(Debug, Default)]
pub(crate) struct Counting(pub(crate) AtomicUsize);

impl Connector for Counting {
    fn connect(&self, host: String, port: u16) -> Connecting {
        self.0.fetch_add(1, Ordering::SeqCst);
        Tcp.connect(host, port)
    }
}

/// A server in this process.
pub(crate) struct Peer {
    pub(crate) address: Address,
    pub(crate) health: Health,
    pub(crate) concerns: Concerns,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
}

impl Peer {
    pub(crate) async fn start(config: &InboundConfig, echo: Echo) -> Self {
        Self::start_with(config, |_| echo).await
    }

    /// As `start`; the service is given the token that tells it to end its streams.
    pub(crate) async fn start_with(
        config: &InboundConfig,
        echo: impl FnOnce(CancellationToken) -> Echo,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, config, echo)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        config: &InboundConfig,
        echo: impl FnOnce(CancellationToken) -> Echo,
    ) -> Self {
        Self::serve(listener, config, None, echo, &Environment::system())
    }

    /// A server that states its version.
    pub(crate) async fn start_as(version: &str, config: &InboundConfig, echo: Echo) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_as_on(listener, version, config, echo)
    }

    pub(crate) fn start_as_on(
        listener: TcpListener,
        version: &str,
        config: &InboundConfig,
        echo: Echo,
    ) -> Self {
        let description = Description::new("echo", version.parse().unwrap())
            .requiring("other", "^3.1".parse().unwrap())
            .serving("test.v1", Version::new(1, 4, 0));
        let peer = Self::serve(listener, config, Some(description), |_| echo, &Environment::system());
        peer.health.set_serving(true);
        peer
    }

    /// A server that sees what its callers in this environment see.
    pub(crate) async fn start_in(environment: &Environment, description: Description, echo: Echo) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = InboundConfig::default();
        let peer = Self::serve(listener, &config, Some(description), |_| echo, environment);
        peer.health.set_serving(true);
        peer
    }

    fn serve(
        listener: TcpListener,
        config: &InboundConfig,
        description: Option<Description>,
        echo: impl FnOnce(CancellationToken) -> Echo,
        environment: &Environment,
    ) -> Self {
        let address = listener.local_addr().unwrap().into();
        let mut server = Server::new(&[SERVICE], config, environment);
        if let Some(description) = description {
            server = server.described(description);
        }
        let (health, concerns) = (server.health(), server.concerns());
        let mut echo = echo(server.draining());
        echo.max_message_bytes = config.max_message_bytes();
        let shutdown = CancellationToken::new();
        let serving = server.serve(listener, Routes::new(echo), &[], shutdown.clone());
        Self { address, health, concerns, shutdown, served: tokio::spawn(serving) }
    }

    /// A client with these settings.
    pub(crate) fn outbound(&self, config: &OutboundConfig) -> Outbound {
        Outbound::new("echo", &self.address, config, &Environment::system())
    }

    /// A request as a foreign client sends it, with nothing of the mesh on its side: the head of the answer.
    pub(crate) async fn raw(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        message: &[u8],
    ) -> http::Response<hyper::body::Incoming> {
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(message);
        let mut request = http::Request::post(format!("{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        client.request(request.body(Full::new(bytes::Bytes::from(frame))).unwrap()).await.unwrap()
    }
}

/// The status in the head of an answer without a body, or in its trailers.
pub(crate) async fn status_of(response: http::Response<hyper::body::Incoming>) -> Status {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = response.into_body().collect().await.unwrap();
    Status::from_header_map(collected.trailers().unwrap()).unwrap()
}

/// Calls the unary method.
pub(crate) async fn say<S>(service: S, ask: Text) -> Result<Text, Status>
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError>,
{
    unary(service, SAY, ask).await
}

/// Calls a unary method by its path.
pub(crate) async fn unary<S>(service: S, path: &'static str, ask: Text) -> Result<Text, Status>
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError>,
{
    let mut grpc = tonic::client::Grpc::new(service);
    grpc.ready().await.map_err(|_| Status::unavailable("not ready"))?;
    let codec = ProstCodec::<Text, Text>::default();
    let answer = grpc.unary(Request::new(ask), PathAndQuery::from_static(path), codec).await?;
    Ok(answer.into_inner())
}

/// Opens the server stream.
pub(crate) async fn follow(outbound: &Outbound) -> Result<tonic::Streaming<Text>, Status> {
    let mut grpc = tonic::client::Grpc::new(outbound.streams());
    grpc.ready().await?;
    let codec = ProstCodec::<Text, Text>::default();
    let answer =
        grpc.server_streaming(Request::new(text("")), PathAndQuery::from_static(FOLLOW), codec).await?;
    Ok(answer.into_inner())
}

/// Sends a stream, and waits for the head of the answer to it.
pub(crate) async fn repeat(
    outbound: &Outbound,
    asks: impl Stream<Item = Text> + Send + 'static,
) -> Result<tonic::Streaming<Text>, Status> {
    let mut grpc = tonic::client::Grpc::new(outbound.streams());
    grpc.ready().await?;
    let codec = ProstCodec::<Text, Text>::default();
    let answer = grpc.streaming(Request::new(asks), PathAndQuery::from_static(REPEAT), codec).await?;
    Ok(answer.into_inner())
}

/// Waits for something that must happen soon; a test that would hang fails.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it should have happened by now")
}
