//! A game-list that runs inside the test, and what tests ask of it.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use game_list::{Config, RunError};
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Any, Freshness, Provenance, Source, Strong};
use gameshelf::proto::gamelist::v1::game_list_service_client::GameListServiceClient;
use gameshelf::proto::gamelist::v1::{
    ListGamesRequest, ListGamesResponse, WatchGamesRequest, WatchGamesResponse,
};
use gameshelf::tokens::Token;
use mesh::environment::Environment;
use mesh::outbound::{Address, Calls, Outbound, OutboundConfig, Streams};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::arbiter::FakeArbiter;

const CATALOG: &str = "game_id,title,status,release_year,price_minor_units,currency,required_age\n\
    tiny-forest,Tiny Forest,listed,2019,499,USD,0\n";

/// Far longer than anything here takes: a condition that does not come true by then is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

pub(crate) struct GameList {
    pub(crate) client: GameListServiceClient<Calls>,
    streams: GameListServiceClient<Streams>,
    pub(crate) health: tonic_health::pb::health_client::HealthClient<Calls>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

/// The configuration with the copy in `directory`; `flags` go over what tests use otherwise.
pub(crate) fn config(directory: &Path, arbiter: &FakeArbiter, flags: &[&str]) -> Config {
    let catalog = directory.join("catalog.csv");
    if !catalog.exists() {
        std::fs::write(&catalog, CATALOG).unwrap();
    }
    let mut all = vec![
        "game-list".to_owned(),
        format!("--database-url=sqlite:{}", directory.join("copy.sqlite").display()),
        format!("--arbiter-address={}", arbiter.address),
        "--outbound-timeout-ms=2000".to_owned(),
    ];
    if !flags.iter().any(|flag| flag.starts_with("--purchase-address")) {
        all.push(format!("--catalog={}", catalog.display()));
    }
    // Quick to notice and to try again, so that tests are quick.
    let quick = [
        "--probe-interval-ms=20",
        "--backoff-base-ms=5",
        "--backoff-max-ms=40",
        "--database-lock-wait-ms=5000",
    ];
    let name = |flag: &str| flag.split('=').next().map(str::to_owned);
    let given = |flag: &&&str| flags.iter().any(|other| name(other) == name(flag));
    all.extend(quick.iter().filter(|flag| !given(flag)).chain(flags).map(|flag| (*flag).to_owned()));
    Arguments::try_parse_from(all).unwrap().config
}

impl GameList {
    /// Starts one on the copy in `directory`.
    pub(crate) async fn start(directory: &Path, arbiter: &FakeArbiter, flags: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let (environment, shutdown) = (Environment::system(), CancellationToken::new());
        let outbound = Outbound::new("game-list", &address, &OutboundConfig::default(), &environment);
        let config = config(directory, arbiter, flags);
        let running = Box::pin(game_list::run(config, environment, listener, shutdown.clone()));
        Self {
            client: GameListServiceClient::new(outbound.calls()),
            streams: GameListServiceClient::new(outbound.streams()),
            health: tonic_health::pb::health_client::HealthClient::new(outbound.calls()),
            shutdown,
            task: tokio::spawn(running),
        }
    }

    /// Ends it, and lets the copy go.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Kills it where it stands.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn list(
        &self,
        customer_id: &str,
        requirement: Requirement,
    ) -> Result<ListGamesResponse, Status> {
        let freshness = Some(Freshness { requirement: Some(requirement) });
        self.ask(ListGamesRequest { customer_id: customer_id.to_owned(), freshness, ..Default::default() })
            .await
    }

    /// Watches a customer's games.
    pub(crate) async fn watch(
        &self,
        customer_id: &str,
        requirement: Requirement,
    ) -> Result<Streaming<WatchGamesResponse>, Status> {
        let freshness = Some(Freshness { requirement: Some(requirement) });
        let request = WatchGamesRequest { customer_id: customer_id.to_owned(), freshness };
        self.streams.clone().watch_games(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn ask(&self, request: ListGamesRequest) -> Result<ListGamesResponse, Status> {
        self.client.clone().list_games(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until the answer for a customer, of any freshness, is as wished.
    pub(crate) async fn until(
        &self,
        customer_id: &str,
        wished: impl Fn(&ListGamesResponse) -> bool,
    ) -> ListGamesResponse {
        let mut last = None;
        let wait = async {
            loop {
                match self.list(customer_id, any()).await {
                    Ok(answer) if wished(&answer) => return answer,
                    other => last = Some(other),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("the answer never was as wished, at last it was {last:?}"))
    }

    /// Waits until the copy answers, undegraded, and shows this or more.
    pub(crate) async fn shows(&self, token: Token) {
        self.until("nobody", |answer| {
            let provenance = provenance(answer);
            let shown: Token = provenance.token.parse().unwrap();
            let reached = shown.at(0) == token.at(0) && shown.revision >= token.revision;
            reached && provenance.source() == Source::LocalCopy && !provenance.degraded
        })
        .await;
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

pub(crate) fn provenance(answer: &ListGamesResponse) -> &Provenance {
    answer.provenance.as_ref().expect("every answer says how fresh it is")
}

pub(crate) fn age(answer: &ListGamesResponse) -> Option<Duration> {
    provenance(answer).age.map(|age| age.try_into().expect("an age is not negative"))
}

pub(crate) fn games(answer: &ListGamesResponse) -> Vec<&str> {
    answer.games.iter().map(|game| game.game_id.as_str()).collect()
}

pub(crate) fn titles(answer: &ListGamesResponse) -> Vec<&str> {
    answer.games.iter().map(|game| game.title.as_str()).collect()
}

pub(crate) fn any() -> Requirement {
    Requirement::Any(Any {})
}

pub(crate) fn strong() -> Requirement {
    Requirement::Strong(Strong {})
}

pub(crate) fn at_least(token: Token) -> Requirement {
    Requirement::AtLeastAsFreshAs(token.to_string())
}

pub(crate) fn at_most_old(age: Duration) -> Requirement {
    Requirement::AtMostOld(age.try_into().unwrap())
}
