//! The arbiter, as a child process.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, ensure};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::set_stock_request::Amount;
use mesh::process::ProcessConfig;
use prost::Message;
use tempfile::TempDir;
use uuid::Uuid;

use super::child::Child;
use super::{Database, Process};
use crate::load::{Client, Protocol, Template, placeholder};
use crate::work::{
    ACTOR, LIMITED_COPIES, LIMITED_GAME, LISTED_CUSTOMERS, LISTED_GAMES, Work, customer_name, game_name,
};

/// How the arbiter is started as a child.
#[derive(clap::Args)]
pub(crate) struct ArbiterArguments {
    #[command(flatten)]
    pub(crate) process: ProcessConfig,
    #[command(flatten)]
    pub(crate) config: arbiter::Config,
}

/// The most streams of Watch at once.
const WATCHERS: &str = "2000";

/// Where an arbiter keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Store {
    Postgres,
    Sqlite,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }
}

/// An arbiter that runs on a store of its own.
#[derive(Debug)]
pub(crate) struct Arbiter {
    child: Child,
    /// What the child uses is dropped after it.
    _directory: Option<TempDir>,
}

impl Arbiter {
    pub(crate) fn on_postgres(database: &Database, threads: u32) -> anyhow::Result<Self> {
        Self::start(&database.url(), threads, None).context("the arbiter on PostgreSQL did not start")
    }

    pub(crate) fn on_sqlite(threads: u32) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no directory for the SQLite store")?;
        let url = format!("sqlite:{}", directory.path().join("store.sqlite").display());
        Self::start(&url, threads, Some(directory)).context("the arbiter on SQLite did not start")
    }

    fn start(url: &str, threads: u32, directory: Option<TempDir>) -> anyhow::Result<Self> {
        // In the environment rather than among the arguments, which everybody on the machine can read.
        // More watchers than by default, since that is one of the things measured.
        let variables = [("GAMESHELF_ARBITER_DATABASE_URL", url), ("GAMESHELF_ARBITER_WATCHERS", WATCHERS)];
        let threads = threads.to_string();
        let arguments = ["arbiter", "--exit-on-stdin-close", "--worker-threads", &threads];
        let mut child = Child::start(&arguments, &variables)?;
        let address = child.address;
        // It takes connections at once, and answers when its store is open.
        child.wait_until(|| {
            let head = |client: Client| client.call(GET_HEAD, &wire::GetHeadRequest {});
            Client::open(address).and_then(head).map(|_: wire::GetHeadResponse| ()).is_ok()
        })?;
        Ok(Self { child, _directory: directory })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.child.address
    }

    /// The token of the newest revision.
    pub(crate) fn head_token(&self) -> anyhow::Result<String> {
        let head: wire::GetHeadResponse =
            Client::open(self.address())?.call(GET_HEAD, &wire::GetHeadRequest {})?;
        Ok(head.provenance.context("a head without its revision")?.token)
    }

    pub(crate) fn process(&self) -> Process {
        Process::alone("arbiter", self.child.pid())
    }

    /// Makes what a work needs.
    pub(crate) fn prepare(&self, work: Work) -> anyhow::Result<()> {
        let client = Client::open(self.address())?;
        match work {
            Work::Grant => Ok(()),
            Work::GrantFromStock => set_stock(&client),
            Work::StrongList => grant_all(&client, work.customer_prefix(), 0..LISTED_CUSTOMERS, LISTED_GAMES),
        }
    }

    /// Gives each of the customers the same games, through the contract: the tables of the arbiter are its own.
    pub(crate) fn fill(&self, prefix: &str, customers: Range<u64>, games: u64) -> anyhow::Result<()> {
        grant_all(&Client::open(self.address())?, prefix, customers, games)
    }

    /// Gives games one by one, each by a commit of its own, to customers who get a hundred each.
    pub(crate) fn fill_singly(&self, prefix: &str, commits: u64) -> anyhow::Result<()> {
        let requests = (0..commits).map(|number| {
            let customer = customer_name(prefix, number / GAMES_SINGLY);
            grant(Uuid::now_v7().to_string(), customer, vec![game_name(number % GAMES_SINGLY)])
        });
        Client::open(self.address())?.call_all(GRANT, requests)
    }
}

/// Games of each customer that gets them one by one.
const GAMES_SINGLY: u64 = 100;

const GET_HEAD: &str = "/gameshelf.arbiter.v1.ArbiterService/GetHead";
pub(crate) const GRANT: &str = "/gameshelf.arbiter.v1.ArbiterService/Grant";
const LIST: &str = "/gameshelf.arbiter.v1.ArbiterService/ListEntitlements";
const SET_STOCK: &str = "/gameshelf.arbiter.v1.ArbiterService/SetStock";

/// How an arbiter, or a server that answers like one, is asked for a work.
pub(crate) fn protocol(work: Work) -> Protocol {
    let customer_id = format!("{}{}", work.customer_prefix(), placeholder::CUSTOMER);
    match work {
        Work::Grant | Work::GrantFromStock => {
            let game_id = match work {
                Work::GrantFromStock => LIMITED_GAME.to_owned(),
                _ => format!("game-{}", placeholder::GAME),
            };
            let request = grant(placeholder::REQUEST_ID.to_owned(), customer_id, vec![game_id]);
            Protocol { path: GRANT, template: Template::new(&request), check: check_grant }
        }
        Work::StrongList => {
            let request = wire::ListEntitlementsRequest { customer_id, ..Default::default() };
            Protocol { path: LIST, template: Template::new(&request), check: check_list }
        }
    }
}

fn check_grant(answer: &[u8]) -> anyhow::Result<()> {
    let answer = wire::GrantResponse::decode(answer)?;
    let granted = wire::grant_result::Status::Granted;
    let is_granted = answer.results.len() == 1 && answer.results[0].status() == granted;
    ensure!(is_granted && !answer.replayed, "a grant granted nothing: {answer:?}");
    Ok(())
}

fn check_list(answer: &[u8]) -> anyhow::Result<()> {
    let listed = wire::ListEntitlementsResponse::decode(answer)?.entitlements.len();
    ensure!(listed as u64 == LISTED_GAMES, "a list has {listed} games instead of {LISTED_GAMES}");
    Ok(())
}

pub(crate) fn cause(reason: wire::Reason) -> wire::Cause {
    wire::Cause { reason: reason.into(), actor: ACTOR.to_owned(), order_id: String::new() }
}

pub(crate) fn grant(request_id: String, customer_id: String, game_ids: Vec<String>) -> wire::GrantRequest {
    wire::GrantRequest {
        request_id,
        customer_id,
        game_ids,
        on_owned: wire::OnOwned::Refuse.into(),
        cause: Some(cause(wire::Reason::Purchase)),
        ..Default::default()
    }
}

fn grant_all(client: &Client, prefix: &str, customers: Range<u64>, games: u64) -> anyhow::Result<()> {
    let game_ids: Vec<String> = (0..games).map(game_name).collect();
    let requests = customers
        .map(|customer| grant(Uuid::now_v7().to_string(), customer_name(prefix, customer), game_ids.clone()));
    client.call_all(GRANT, requests)
}

fn set_stock(client: &Client) -> anyhow::Result<()> {
    let request = wire::SetStockRequest {
        request_id: Uuid::now_v7().to_string(),
        game_id: LIMITED_GAME.to_owned(),
        amount: Some(Amount::Total(LIMITED_COPIES)),
        cause: Some(cause(wire::Reason::Administration)),
    };
    let _: wire::SetStockResponse =
        client.call(SET_STOCK, &request).context("the arbiter cannot set a stock")?;
    Ok(())
}
