//! Who asks for the games of customers, gives games to one more, and hears of these: all of it through the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gameshelf::ids::{CustomerId, RequestId};
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{Cause, GrantRequest, OnOwned, Reason};
use gameshelf::proto::freshness::v1::freshness::Requirement as Fresh;
use gameshelf::proto::freshness::v1::{Freshness, Strong};
use gameshelf::proto::gamelist::v1::game_list_service_client::GameListServiceClient;
use gameshelf::proto::gamelist::v1::watch_games_response::Event;
use gameshelf::proto::gamelist::v1::{
    ListGamesRequest, ListGamesResponse, OwnedGame, WatchGamesRequest, WatchGamesResponse,
};
use gameshelf::services;
use mesh::environment::Environment;
use mesh::outbound::{Calls, Dispatch, DispatchConfig, Outbound, Streams};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status, Streaming};

use crate::example::children::Endpoints;
use crate::example::load::Answer;
use crate::example::log::Log;
use crate::exit::{Failure, Kind};
use crate::up::SAMPLE_CATALOG;

const RANGE: &str = "^1.0";
/// Who is given games meanwhile.
const VISITOR: &str = "example-visitor";

/// A caller of game-list, made for 1.0.
#[derive(Debug)]
pub(super) struct Reader {
    environment: Environment,
    game_list: Dispatch,
    client: GameListServiceClient<Calls>,
    arbiter: ArbiterServiceClient<Calls>,
    queries: u64,
    /// Each customer's games, as the arbiter has them.
    owned: Vec<(String, BTreeSet<String>)>,
    /// What a query has to have seen.
    token: String,
    /// The games that the visitor is given, one after another.
    gifts: Vec<String>,
    granted: AtomicU64,
}

fn failed(status: &Status) -> Failure {
    Failure::from_status(services::GAME_LIST, status)
}

impl Reader {
    pub(super) async fn open(
        config: &DispatchConfig,
        endpoints: &Endpoints<'_>,
        arbiter: SocketAddr,
        queries: u64,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let defect = |error: &dyn std::fmt::Display| Failure::new(Kind::Defect, "EXAMPLE", error.to_string());
        let found = endpoints.source().open(&config.discovery, environment).await;
        let found = found.map_err(|error| defect(&error))?;
        let range = RANGE.parse().map_err(|error| defect(&error))?;
        let game_list = Dispatch::new(services::GAME_LIST, &range, &*found, config, environment);
        let arbiter = Outbound::new(services::ARBITER, &arbiter.into(), &config.outbound, environment);
        Ok(Self {
            environment: environment.clone(),
            client: GameListServiceClient::new(game_list.calls()),
            game_list,
            arbiter: ArbiterServiceClient::new(arbiter.calls()),
            queries,
            owned: Vec::new(),
            token: String::new(),
            gifts: first_column(SAMPLE_CATALOG).into_iter().collect(),
            granted: AtomicU64::new(0),
        })
    }

    /// The service as the mesh sees it.
    pub(super) fn game_list(&self) -> &Dispatch {
        &self.game_list
    }

    /// How many games the visitor was given.
    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Looks up, by strong reads, what the customers of a file own: each answer afterwards must be the same.
    pub(super) async fn look_up(&mut self, ownership: &[u8]) -> Result<(), Failure> {
        let mut owned = BTreeMap::new();
        // Some rows of the sample are wrong, so that an import has something to reject.
        let customers = first_column(ownership).into_iter().filter(|id| id.parse::<CustomerId>().is_ok());
        for customer_id in customers {
            let answer = self.list(&customer_id, Fresh::Strong(Strong {})).await;
            let answer = answer.map_err(|status| failed(&status))?.into_inner();
            self.token = answer.provenance.unwrap_or_default().token;
            owned.insert(customer_id, ids(answer.games));
        }
        self.owned = owned.into_iter().collect();
        if self.owned.is_empty() {
            return Err(Failure::new(Kind::Defect, "EXAMPLE", "the sample names no customer"));
        }
        Ok(())
    }

    async fn list(&self, customer_id: &str, fresh: Fresh) -> Result<Response<ListGamesResponse>, Status> {
        let request = ListGamesRequest {
            customer_id: customer_id.to_owned(),
            freshness: Some(Freshness { requirement: Some(fresh) }),
            ..ListGamesRequest::default()
        };
        self.client.clone().list_games(request).await
    }

    /// One query, and the gifts that are due by then.
    pub(super) async fn ask(&self, number: u64) -> Answer {
        let gifts = u64::try_from(self.gifts.len()).unwrap_or_default();
        let due = |number: u64| number * gifts / self.queries;
        for at in due(number - 1)..due(number) {
            if let Err(status) = self.give(usize::try_from(at).unwrap_or_default()).await {
                return Answer::of::<()>(Err(status), |()| None);
            }
        }
        self.query(number).await
    }

    /// One query.
    pub(super) async fn query(&self, number: u64) -> Answer {
        let count = u64::try_from(self.owned.len()).unwrap_or_default().max(1);
        let at = usize::try_from(number % count).unwrap_or_default();
        let Some((customer_id, owned)) = self.owned.get(at) else {
            return Answer { tries: Vec::new(), failure: Some("nobody to ask for".to_owned()) };
        };
        let answer = self.list(customer_id, Fresh::AtLeastAsFreshAs(self.token.clone())).await;
        Answer::of(answer, |found| {
            let is_right = ids(found.games.clone()) == *owned;
            (!is_right).then(|| format!("the answer is not what {customer_id} owns"))
        })
    }

    async fn give(&self, at: usize) -> Result<(), Status> {
        let Environment { clock, random, .. } = &self.environment;
        let request = GrantRequest {
            request_id: RequestId::new_v7(clock.unix_ms(), random.bytes10()).to_string(),
            customer_id: VISITOR.to_owned(),
            game_ids: self.gifts.get(at).cloned().into_iter().collect(),
            on_owned: OnOwned::Refuse.into(),
            cause: Some(Cause { reason: Reason::Gift.into(), ..Cause::default() }),
            end_time: None,
        };
        self.arbiter.clone().grant(request).await?;
        self.granted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn streams(&self) -> GameListServiceClient<Streams> {
        GameListServiceClient::new(self.game_list.streams())
    }
}

/// What stands first in the lines after the head, each once.
fn first_column(csv: &[u8]) -> BTreeSet<String> {
    let mut reader = csv::Reader::from_reader(csv);
    let records = reader.records().filter_map(Result::ok);
    records.filter_map(|record| record.get(0).map(str::to_owned)).collect()
}

fn ids(games: Vec<OwnedGame>) -> BTreeSet<String> {
    games.into_iter().map(|game| game.game_id).collect()
}

/// The gifts of the visitor as they come on a stream of game-list.
#[derive(Debug)]
pub(super) struct Changes {
    told: watch::Receiver<u64>,
    _following: AbortOnDropHandle<()>,
}

impl Changes {
    /// Begins to follow the visitor's games, of which there are none.
    pub(super) async fn follow(reader: &Reader, log: &Log) -> Result<Self, Failure> {
        let request = WatchGamesRequest { customer_id: VISITOR.to_owned(), freshness: None };
        let stream = reader.streams().watch_games(request).await.map_err(|status| failed(&status))?;
        let version = stream.metadata().get("mesh-version").and_then(|version| version.to_str().ok());
        let version = version.unwrap_or("unknown").to_owned();
        let (sender, told) = watch::channel(0);
        let following = tokio::spawn(tell(stream.into_inner(), version, sender, log.clone()));
        Ok(Self { told, _following: AbortOnDropHandle::new(following) })
    }

    /// How many were told, once that is so many, or it has taken too long.
    pub(super) async fn told(&mut self, expected: u64, wait: Duration) -> u64 {
        let enough = self.told.wait_for(|told| *told >= expected);
        // Whichever it is, what counts is how many it is.
        let _ = tokio::time::timeout(wait, enough).await;
        *self.told.borrow()
    }
}

async fn tell(
    mut stream: Streaming<WatchGamesResponse>,
    version: String,
    told: watch::Sender<u64>,
    log: Log,
) {
    while let Ok(Some(message)) = stream.message().await {
        let Some(Event::Changes(changes)) = message.event else { continue };
        for game in changes.granted {
            let number = *told.borrow() + 1;
            let line = json!({ "event": {
                "number": number, "customer_id": VISITOR, "game_id": game.game_id, "version": version,
            } });
            // Nobody who reads is left: the work itself finds out too.
            if log
                .tell(&line, || format!("event {number}: {VISITOR} has {} (by {version})", game.game_id))
                .is_err()
            {
                return;
            }
            told.send_replace(number);
        }
    }
}
