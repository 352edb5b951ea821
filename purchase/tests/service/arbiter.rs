//! An arbiter that keeps its books in memory and fails on demand.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::proto::arbiter::v1::arbiter_service_server::{ArbiterService, ArbiterServiceServer};
use gameshelf::proto::arbiter::v1::{GrantRequest, GrantResponse};
use gameshelf::tokens::Token;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::faults::Script;

/// The freshness token of a revision.
pub(crate) fn token(revision: u64) -> Token {
    Token { store_id: Uuid::from_u128(1), incarnation: 1, revision }
}

#[derive(Clone, Debug)]
pub(crate) struct Arbiter {
    script: Script,
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    revision: u64,
    owned: HashSet<(String, String)>,
    /// Games of which no copy is left.
    sold_out: HashSet<String>,
    /// The revision of each request that was granted, or why one was refused.
    outcomes: HashMap<String, Result<u64, Reason>>,
}

impl Arbiter {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, books: Arc::default() }
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(ArbiterServiceServer::new(self.clone()))
    }

    /// The customer gets the game in another way.
    pub(crate) fn give(&self, customer_id: &str, game_id: &str) {
        let mut books = self.books.lock().unwrap();
        books.revision += 1;
        books.owned.insert((customer_id.to_owned(), game_id.to_owned()));
    }

    /// No copy of the game is left.
    pub(crate) fn sell_out(&self, game_id: &str) {
        self.books.lock().unwrap().sold_out.insert(game_id.to_owned());
    }

    pub(crate) fn owns(&self, customer_id: &str, game_id: &str) -> bool {
        self.books.lock().unwrap().owned.contains(&(customer_id.to_owned(), game_id.to_owned()))
    }

    fn decide(&self, request: &GrantRequest) -> Result<GrantResponse, Status> {
        let mut books = self.books.lock().unwrap();
        let known = books.outcomes.get(&request.request_id).copied();
        let outcome = known.unwrap_or_else(|| {
            let outcome = books.give(&request.customer_id, &request.game_ids[0]);
            books.outcomes.insert(request.request_id.clone(), outcome);
            outcome
        });
        // Far beyond what the order itself sees, as if others had written meanwhile.
        mesh::causal::record(&token(0).scope().into(), books.revision + 100);
        let replayed = known.is_some();
        match outcome {
            Ok(revision) => Ok(GrantResponse {
                revision,
                token: token(revision).to_string(),
                replayed,
                results: Vec::new(),
            }),
            Err(reason) => Err(ErrorBuilder::new(reason, "no")
                .with("revision", books.revision)
                .with("token", token(books.revision))
                .build()),
        }
    }
}

impl Books {
    fn give(&mut self, customer_id: &str, game_id: &str) -> Result<u64, Reason> {
        if self.sold_out.contains(game_id) {
            return Err(Reason::OutOfStock);
        }
        if !self.owned.insert((customer_id.to_owned(), game_id.to_owned())) {
            return Err(Reason::AlreadyOwned);
        }
        self.revision += 1;
        Ok(self.revision)
    }
}

#[tonic::async_trait]
impl ArbiterService for Arbiter {
    async fn grant(&self, request: Request<GrantRequest>) -> Result<Response<GrantResponse>, Status> {
        let fault = self.script.begin("grant", &request.get_ref().request_id, &request).await?;
        let outcome = self.decide(request.get_ref());
        Script::end(fault).await?;
        outcome.map(Response::new)
    }
}
