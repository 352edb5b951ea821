//! A database of the test's own, an arbiter on it, and what it has committed in truth.

use std::net::SocketAddr;
use std::time::Duration;

use arbiter::{Config, RunError};
use clap::Parser;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Cause, Commit, GetHeadRequest, GrantRequest, GrantResponse, Reason, WatchRequest,
};
use gameshelf::tokens::Token;
use mesh::environment::Environment;
use mesh::outbound::{Calls, Outbound, OutboundConfig, Streams};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

/// A wait this long has failed; it is far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at something that takes its time, so that looking does not take it away.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
/// The arbiter's client is patient, and tells every failure: what is tested is what the arbiter says.
const OUTBOUND: [&str; 6] =
    ["--outbound-attempts", "1", "--outbound-timeout-ms", "60000", "--outbound-attempt-timeout-ms", "60000"];

/// A database of the test's own, on the server that the environment names.
pub(crate) struct Database {
    name: String,
    /// User and password.
    credentials: String,
    /// Host and port.
    server: String,
    connection: PgConnection,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let url = std::env::var("GAMESHELF_TEST_POSTGRES_URL").expect(
            "this test needs PostgreSQL: run ./test, or set GAMESHELF_TEST_POSTGRES_URL to a server's URL",
        );
        let (front, _database) = url.rsplit_once('/').expect("the URL names a database");
        let (credentials, server) = front.rsplit_once('@').expect("the URL names a user");
        let options: PgConnectOptions = url.parse().unwrap();
        let name = format!("lost_commit_{}", Uuid::now_v7().simple());
        let mut connection = options.connect().await.expect("the PostgreSQL server for tests is reachable");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        Self { name, credentials: credentials.to_owned(), server: server.to_owned(), connection }
    }

    /// Host and port of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The database's URL by way of this address.
    pub(crate) fn url_by(&self, address: SocketAddr) -> String {
        format!("{}@{address}/{}", self.credentials, self.name)
    }

    /// The database's URL.
    pub(crate) fn url(&self) -> String {
        format!("{}@{}/{}", self.credentials, self.server, self.name)
    }

    /// Waits until a new epoch of this database waits for another transaction's end.
    pub(crate) async fn until_a_transaction_waits(&mut self) {
        const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = $1 AND wait_event_type = 'Lock' AND query LIKE '%SET epoch%'";
        let waiting = async {
            let mut waiting: i64 = 0;
            while waiting == 0 {
                let row =
                    sqlx::query(WAITING).bind(&self.name).fetch_one(&mut self.connection).await.unwrap();
                waiting = row.get(0);
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("a transaction waits for another one's end");
    }

    /// Everything that was ever committed, as an arbiter reads it from the store that has come to it by no detour.
    pub(crate) async fn committed(&self) -> Vec<Commit> {
        let arbiter = Running::serving(&self.url(), &[]).await;
        let commits =
            tokio::time::timeout(PATIENCE, arbiter.commits()).await.expect("every commit is streamed");
        arbiter.stop().await;
        commits
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    outbound: OutboundConfig,
}

/// A running arbiter, and two ways to call it.
pub(crate) struct Running {
    pub(crate) client: ArbiterServiceClient<Calls>,
    watcher: ArbiterServiceClient<Streams>,
    shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
}

/// Starts an arbiter, and does not wait for it.
pub(crate) fn start(url: &str, options: &[&str]) -> Running {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let address = listener.local_addr().unwrap().into();
    let arguments = ["arbiter", "--database-url", url].into_iter().chain(OUTBOUND);
    let Arguments { config, outbound } = Arguments::parse_from(arguments.chain(options.iter().copied()));
    let (shutdown, environment) = (CancellationToken::new(), Environment::system());
    let outbound = Outbound::new("arbiter", &address, &outbound, &environment);
    let task = tokio::spawn(arbiter::run(config, environment, listener, shutdown.clone()));
    let client = ArbiterServiceClient::new(outbound.calls());
    let watcher = ArbiterServiceClient::new(outbound.streams());
    Running { client, watcher, shutdown, task }
}

impl Running {
    /// Starts an arbiter and waits until it serves.
    pub(crate) async fn serving(url: &str, options: &[&str]) -> Self {
        let mut running = start(url, options);
        while running.client.get_head(GetHeadRequest {}).await.is_err() {
            assert!(!running.task.is_finished(), "the arbiter has ended: {:?}", running.task.await);
            tokio::time::sleep(PAUSE).await;
        }
        running
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Sends a grant, and leaves the answer for later.
    pub(crate) fn send(&self, request: &GrantRequest) -> JoinHandle<Result<GrantResponse, Status>> {
        let (mut client, request) = (self.client.clone(), request.clone());
        tokio::spawn(async move { client.grant(request).await.map(tonic::Response::into_inner) })
    }

    /// Sends a grant, and waits for its answer.
    pub(crate) async fn ask(&self, request: &GrantRequest) -> Result<GrantResponse, Status> {
        self.send(request).await.unwrap()
    }

    /// Every commit up to the newest revision.
    async fn commits(&self) -> Vec<Commit> {
        let head = self.client.clone().get_head(GetHeadRequest {}).await.unwrap().into_inner();
        let newest: Token = head.provenance.unwrap().token.parse().unwrap();
        let start = Some(Start::AfterToken(newest.at(0).to_string()));
        let mut stream = self
            .watcher
            .clone()
            .watch(WatchRequest { start, ..WatchRequest::default() })
            .await
            .unwrap()
            .into_inner();
        let mut commits: Vec<Commit> = Vec::new();
        while commits.last().map_or(0, |last| last.revision) < newest.revision {
            let event = stream.message().await.unwrap().expect("the stream goes on").event;
            if let Some(Event::Commits(more)) = event {
                commits.extend(more.commits);
            }
        }
        commits
    }
}

/// Gives a customer a game.
pub(crate) fn grant(customer_id: &str, game_id: &str) -> GrantRequest {
    let cause = Cause { reason: Reason::Gift.into(), actor: "test".to_owned(), ..Cause::default() };
    GrantRequest {
        request_id: Uuid::now_v7().to_string(),
        customer_id: customer_id.to_owned(),
        game_ids: vec![game_id.to_owned()],
        cause: Some(cause),
        ..GrantRequest::default()
    }
}
