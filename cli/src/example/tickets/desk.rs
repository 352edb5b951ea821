//! Who adds tickets and replies, and asks for them: all of it through the mesh.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gameshelf::ids::RequestId;
use mesh::environment::Environment;
use mesh::outbound::{Calls, Dispatch, Outbound, OutboundConfig};
use tickets::proto::tickets::v1::ticket_service_client::TicketServiceClient;
use tickets::proto::tickets::v1::{
    AddReplyRequest, AddRequest, GetServedRequest, QueryRequest, QueryResponse,
};
use tonic::Status;

use super::Options;
use crate::example::children::Endpoints;
use crate::example::load::Answer;
use crate::exit::{Failure, Kind};

/// The name that the mesh knows the service by.
const NAME: &str = "tickets";
const RANGE: &str = "^1.0";

/// A caller of the service, made for 1.0.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    options: &'a Options,
    environment: Environment,
    tickets: Dispatch,
    client: TicketServiceClient<Calls>,
    seeded: OnceLock<Vec<u64>>,
    replies_begun: AtomicU64,
    replies_added: AtomicU64,
}

impl<'a> Desk<'a> {
    pub(super) async fn open(
        options: &'a Options,
        endpoints: &Endpoints<'_>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let defect = |error: &dyn std::fmt::Display| Failure::new(Kind::Defect, "EXAMPLE", error.to_string());
        let config = &options.trial.dispatch();
        let found = endpoints.source().open(&config.discovery, environment).await;
        let found = found.map_err(|error| defect(&error))?;
        let range = RANGE.parse().map_err(|error| defect(&error))?;
        let tickets = Dispatch::new(NAME, &range, &*found, config, environment);
        let client = TicketServiceClient::new(tickets.calls());
        Ok(Self {
            options,
            environment: environment.clone(),
            tickets,
            client,
            seeded: OnceLock::new(),
            replies_begun: AtomicU64::new(0),
            replies_added: AtomicU64::new(0),
        })
    }

    /// The service as the mesh sees it.
    pub(super) fn tickets(&self) -> &Dispatch {
        &self.tickets
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.options.trial.in_flight
    }

    pub(super) fn replies_added(&self) -> u64 {
        self.replies_added.load(Ordering::Relaxed)
    }

    /// Adds the tickets that are asked for, each with a reply.
    pub(super) async fn seed(&self) -> Result<(), Failure> {
        let mut ids = Vec::new();
        for number in 1..=self.options.seed_data {
            let id = self.add(number).await.map_err(|status| Failure::from_status(NAME, &status))?;
            self.reply(id).await.map_err(|status| Failure::from_status(NAME, &status))?;
            ids.push(id);
        }
        // It is seeded once.
        let _ = self.seeded.set(ids);
        Ok(())
    }

    async fn add(&self, number: u32) -> Result<u64, Status> {
        let request = AddRequest {
            request_id: self.new_request_id(),
            title: format!("question {number}"),
            priority: Some(number % 10),
        };
        let added = self.client.clone().add(request).await?.into_inner();
        added
            .ticket
            .map(|ticket| ticket.ticket_id)
            .ok_or_else(|| Status::internal("an answer without a ticket"))
    }

    async fn reply(&self, ticket_id: u64) -> Result<(), Status> {
        let number = self.replies_begun.fetch_add(1, Ordering::Relaxed) + 1;
        let request = AddReplyRequest {
            request_id: self.new_request_id(),
            ticket_id,
            author: "ada".to_owned(),
            text: format!("answer {number}"),
        };
        self.client.clone().add_reply(request).await?;
        self.replies_added.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Made before the request is sent, and the same in every try: so a write may fall back too.
    fn new_request_id(&self) -> String {
        let Environment { clock, random, .. } = &self.environment;
        RequestId::new_v7(clock.unix_ms(), random.bytes10()).to_string()
    }

    /// One query, and the replies that are due by then.
    pub(super) async fn ask(&self, number: u64) -> Answer {
        let due =
            |number: u64| number * u64::from(self.options.replies) / u64::from(self.options.trial.queries);
        for _ in due(number - 1)..due(number) {
            if let Err(status) = self.reply(self.ticket_for(number)).await {
                return Answer::of::<()>(Err(status), |()| None);
            }
        }
        self.query(number).await
    }

    /// One query.
    pub(super) async fn query(&self, number: u64) -> Answer {
        let ticket_id = self.ticket_for(number);
        let answer = self.client.clone().query(QueryRequest { ticket_id }).await;
        Answer::of(answer, |found| wrong(ticket_id, found))
    }

    fn ticket_for(&self, number: u64) -> u64 {
        let seeded = self.seeded.get().map_or(&[][..], Vec::as_slice);
        let count = u64::try_from(seeded.len()).unwrap_or(u64::MAX).max(1);
        let at = usize::try_from(number % count).unwrap_or_default();
        seeded.get(at).copied().unwrap_or_default()
    }

    /// How often an instance was asked anything, by its own count.
    pub(super) async fn served(&self, address: SocketAddr) -> Result<u64, Failure> {
        let outbound = Outbound::new(NAME, &address.into(), &OutboundConfig::default(), &self.environment);
        let served = TicketServiceClient::new(outbound.calls()).get_served(GetServedRequest {}).await;
        let served = served.map_err(|status| Failure::from_status(NAME, &status))?.into_inner();
        Ok(served.adds + served.queries + served.replies + served.subscriptions)
    }
}

/// What is wrong with an answer: it must be about the ticket that was asked for, with the reply that it had from the first.
fn wrong(ticket_id: u64, found: &QueryResponse) -> Option<String> {
    let answered = found.ticket.as_ref().map(|ticket| ticket.ticket_id);
    let is_right = answered == Some(ticket_id) && found.reply_count > 0 && !found.replies.is_empty();
    (!is_right).then(|| format!("the answer is not that for ticket {ticket_id}"))
}
