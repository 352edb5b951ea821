//! Instances in this process on a database of their own, and clients of them.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use mesh::environment::Environment;
use mesh::outbound::{Calls, Outbound, OutboundConfig, Streams};
use tempfile::TempDir;
use tickets::proto::tickets::v1::ticket_service_client::TicketServiceClient;
use tickets::proto::tickets::v1::{AddReplyRequest, AddRequest, Reply, SubscribeRequest, SubscribeResponse};
use tickets::service;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use uuid::Uuid;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: service::Config,
}

/// A directory with a database.
pub(crate) struct Shared(TempDir);

impl Shared {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Starts an instance of a version.
    pub(crate) async fn start(&self, version: &str) -> Instance {
        self.start_with(version, &[]).await
    }

    pub(crate) async fn start_with(&self, version: &str, more: &[&str]) -> Instance {
        let file = self.0.path().join("tickets.sqlite");
        let arguments = ["tickets", "--build", version, "--database-file", file.to_str().unwrap()];
        let config = Arguments::parse_from(arguments.iter().chain(more)).config;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let running = service::run(config, Environment::system(), listener, shutdown.clone());
        let instance = Instance { address, shutdown, running: tokio::spawn(running) };
        instance.served().await;
        instance
    }
}

/// An instance.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), service::RunError>>,
}

impl Instance {
    fn outbound(&self) -> Outbound {
        let config = OutboundConfig { timeout_ms: 15_000, attempts: 20, ..OutboundConfig::default() };
        Outbound::new("tickets", &self.address.into(), &config, &Environment::system())
    }

    pub(crate) fn calls(&self) -> TicketServiceClient<Calls> {
        TicketServiceClient::new(self.outbound().calls())
    }

    fn streams(&self) -> TicketServiceClient<Streams> {
        TicketServiceClient::new(self.outbound().streams())
    }

    pub(crate) async fn served(&self) -> tickets::proto::tickets::v1::GetServedResponse {
        soon(self.calls().get_served(tickets::proto::tickets::v1::GetServedRequest {}))
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn add(&self, title: &str) -> u64 {
        let added = soon(self.calls().add(new_ticket(title))).await.unwrap().into_inner();
        added.ticket.unwrap().ticket_id
    }

    pub(crate) async fn reply(&self, ticket_id: u64, text: &str) -> Reply {
        let added = soon(self.calls().add_reply(new_reply(ticket_id, text))).await.unwrap().into_inner();
        assert!(!added.replayed);
        added.reply.unwrap()
    }

    pub(crate) async fn subscribe(
        &self,
        after_position: u64,
    ) -> Result<Streaming<SubscribeResponse>, Status> {
        Ok(soon(self.streams().subscribe(SubscribeRequest { after_position })).await?.into_inner())
    }
}

pub(crate) fn new_ticket(title: &str) -> AddRequest {
    AddRequest { request_id: Uuid::now_v7().to_string(), title: title.to_owned(), priority: None }
}

pub(crate) fn new_reply(ticket_id: u64, text: &str) -> AddReplyRequest {
    AddReplyRequest {
        request_id: Uuid::now_v7().to_string(),
        ticket_id,
        author: "ada".to_owned(),
        text: text.to_owned(),
    }
}

/// The next reply of a subscription.
pub(crate) async fn next(stream: &mut Streaming<SubscribeResponse>) -> Reply {
    soon(stream.message()).await.unwrap().expect("the subscription goes on").reply.unwrap()
}

/// Waits for something that must happen soon; a test that would hang fails.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it should have happened by now")
}
