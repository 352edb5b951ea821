//! The rival that does nothing: tonic alone, or behind the arbiter's layers, answering as many bytes as the arbiter would.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;

use anyhow::Context;
use clap::ValueEnum;
use gameshelf::proto::arbiter::v1::arbiter_service_server::{
    ArbiterService, ArbiterServiceServer, SERVICE_NAME,
};
use gameshelf::proto::arbiter::{DESCRIPTORS, v1 as wire};
use gameshelf::proto::freshness::v1::Provenance;
use gameshelf::tokens::Token;
use mesh::environment::{Environment, Threads};
use mesh::inbound::{InboundConfig, Server};
use mesh::telemetry;
use mesh::version::{Description, Version};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::Process;
use super::child::{Child, Telemetry};
use crate::work::{LISTED_GAMES, game_name};

/// What the no-op behind layers calls itself.
pub(crate) const NAME: &str = "noop";

/// How a server's threads are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// Everything on one thread.
    CurrentThread,
    /// One worker beside the main thread.
    OneWorker,
    /// Two workers.
    TwoWorkers,
}

impl Runtime {
    pub(crate) const ALL: [Self; 3] = [Self::CurrentThread, Self::OneWorker, Self::TwoWorkers];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current-thread",
            Self::OneWorker => "one-worker",
            Self::TwoWorkers => "two-workers",
        }
    }

    pub(crate) fn build(self) -> std::io::Result<runtime::Runtime> {
        let mut builder = match self {
            Self::CurrentThread => runtime::Builder::new_current_thread(),
            Self::OneWorker | Self::TwoWorkers => runtime::Builder::new_multi_thread(),
        };
        builder.worker_threads(if self == Self::TwoWorkers { 2 } else { 1 }).enable_all().build()
    }
}

/// What stands between the wire and the no-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stack {
    /// Only tonic.
    Bare,
    /// The layers that the arbiter has.
    Inbound,
}

impl Stack {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Inbound => "inbound",
        }
    }
}

/// How a no-op is started as a child.
#[derive(clap::Args)]
pub(crate) struct NoopArguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, value_enum)]
    runtime: Runtime,
    #[arg(long, value_enum)]
    stack: Stack,
}

/// A no-op that runs.
#[derive(Debug)]
pub(crate) struct Noop {
    child: Child,
}

impl Noop {
    pub(crate) fn start(runtime: Runtime, stack: Stack) -> anyhow::Result<Self> {
        Self::start_with(runtime, stack, Telemetry::On)
    }

    /// As [`Self::start`], perhaps without telemetry.
    pub(crate) fn start_with(runtime: Runtime, stack: Stack, telemetry: Telemetry) -> anyhow::Result<Self> {
        let arguments = ["noop", "--runtime", runtime.name(), "--stack", stack.name()];
        let child = Child::start_with(&arguments, &[], telemetry);
        Ok(Self { child: child.context("the no-op server did not start")? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.child.address
    }

    pub(crate) fn process(&self) -> Process {
        Process::alone("no-op", self.child.pid())
    }
}

/// Serves until the standard input is closed.
pub(crate) fn serve(arguments: &NoopArguments) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let closed = shutdown.clone().drop_guard();
    thread::spawn(move || {
        // Nothing is ever sent: this returns at the end, however it comes.
        let _ = std::io::stdin().read(&mut [0]);
        drop(closed);
    });
    let (listen, stack) = (arguments.listen, arguments.stack);
    // The layers have a way of their own to serve on two threads, by which the arbiter goes too.
    let (runtime, further) = match (stack, arguments.runtime) {
        (Stack::Inbound, Runtime::TwoWorkers) => (Runtime::CurrentThread, 1),
        (_, runtime) => (runtime, 0),
    };
    runtime.build()?.block_on(async move {
        let listener = TcpListener::bind(listen).await?;
        // On a worker, where there are any: on the main thread every request would cross threads.
        tokio::spawn(async move {
            match stack {
                Stack::Bare => serve_bare(listener, shutdown).await,
                Stack::Inbound => serve_behind_layers(listener, shutdown, further).await,
            }
        })
        .await?
    })
}

async fn serve_bare(listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(ArbiterServiceServer::new(Answers::new()));
    Ok(server.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()).await?)
}

async fn serve_behind_layers(
    listener: TcpListener,
    shutdown: CancellationToken,
    further_threads: usize,
) -> anyhow::Result<()> {
    let threads = Threads::start(further_threads)?;
    let environment = Environment { threads, ..Environment::system() };
    // The layers ask the telemetry whether somebody looks: the same cost as in the arbiter.
    let _telemetry = telemetry::init(NAME)?;
    let description = Description::new(NAME, Version::new(1, 0, 0));
    let server = Server::new(&[SERVICE_NAME], &InboundConfig::default(), &environment).described(description);
    server.health().set_serving(true);
    let routes = Routes::new(ArbiterServiceServer::new(Answers::new()));
    Ok(server.serve(listener, routes, &[DESCRIPTORS], shutdown).await?)
}

/// Answers that are made beforehand.
struct Answers {
    grant: wire::GrantResponse,
    list: wire::ListEntitlementsResponse,
}

impl Answers {
    fn new() -> Self {
        let revision = 1_000_000;
        let token = Token { store_id: uuid::Uuid::max(), incarnation: 1, revision }.to_string();
        let entitlement = |game| wire::Entitlement {
            game_id: game_name(game),
            since_revision: revision,
            ..Default::default()
        };
        Self {
            grant: wire::GrantResponse { revision, token: token.clone(), ..Default::default() },
            list: wire::ListEntitlementsResponse {
                entitlements: (0..LISTED_GAMES).map(entitlement).collect(),
                next_page_token: String::new(),
                provenance: Some(Provenance { revision, token, source: 1, ..Default::default() }),
            },
        }
    }
}

#[tonic::async_trait]
impl ArbiterService for Answers {
    async fn grant(
        &self,
        request: Request<wire::GrantRequest>,
    ) -> Result<Response<wire::GrantResponse>, Status> {
        let status = wire::grant_result::Status::Granted.into();
        let results = request.into_inner().game_ids.into_iter();
        let results = results.map(|game_id| wire::GrantResult { game_id, status }).collect();
        Ok(Response::new(wire::GrantResponse { results, ..self.grant.clone() }))
    }

    async fn list_entitlements(
        &self,
        request: Request<wire::ListEntitlementsRequest>,
    ) -> Result<Response<wire::ListEntitlementsResponse>, Status> {
        let customer_id = request.into_inner().customer_id;
        let mut list = self.list.clone();
        for entitlement in &mut list.entitlements {
            entitlement.customer_id.clone_from(&customer_id);
        }
        Ok(Response::new(list))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{Remote, Schedule, Shape, Slice};
    use crate::servers::protocol;
    use crate::work::{Job, Requests, Work};

    /// A server in this process, until the guard is dropped.
    fn serve() -> (SocketAddr, tokio_util::sync::DropGuard) {
        let shutdown = CancellationToken::new();
        let guard = shutdown.clone().drop_guard();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        thread::spawn(move || {
            Runtime::CurrentThread.build().unwrap().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                serve_bare(listener, shutdown).await.unwrap();
            });
        });
        (told.recv().unwrap(), guard)
    }

    fn remote(address: SocketAddr, work: Work, threads: usize, connections: usize) -> Remote {
        let requests = Requests::new(Job::new(work, 300));
        Remote::new(address, protocol(work), requests, Shape { threads, connections })
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn the_load_speaks_as_a_server_expects() {
        let (address, _guard) = serve();
        let slice = Slice { warmup: SHORT, measured: Duration::from_secs(1) };
        // More calls than a connection takes at once; on one thread and on two.
        for (work, threads, connections) in [(Work::Grant, 1, 1), (Work::StrongList, 2, 3)] {
            let measured = remote(address, work, threads, connections).closed(slice).unwrap();
            assert!(measured.requests > 0 && measured.calls >= measured.requests);
        }
    }

    #[test]
    fn an_open_loop_sends_what_is_due() {
        let (address, _guard) = serve();
        let schedule = Schedule { per_second: 1_000.0, warmup: SHORT, measured: SHORT, in_flight_at_most: 8 };
        let opened = remote(address, Work::Grant, 1, 2).open(schedule).unwrap();
        assert_eq!((opened.measured.requests, opened.measured.calls), (50, 100));
    }

    #[test]
    fn what_a_server_says_of_an_error_is_told() {
        let (address, _guard) = serve();
        let mut protocol = protocol(Work::Grant);
        protocol.path = "/gameshelf.arbiter.v1.ArbiterService/Nothing";
        let requests = Requests::new(Job::new(Work::Grant, 1));
        let remote = Remote::new(address, protocol, requests, Shape { threads: 1, connections: 1 });
        let error = remote.closed(Slice { warmup: Duration::ZERO, measured: SHORT }).err().unwrap();
        assert!(format!("{error:#}").contains("Unimplemented"), "{error:#}");
    }
}
