//! What concurrent clients see of an arbiter that is killed and started again, again and again, could have happened one
//! operation after another. The search for that order is porcupine's; `scripts/linearizability` has the model.

mod calls;
mod client;
mod history;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{Commit, GetHeadRequest, WatchRequest};
use gameshelf::tokens::Token;
use mesh::environment::{Environment, Random, SystemRandom};
use mesh::outbound::{Outbound, OutboundConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{Process, free_port_base, gameshelf, wait_for, wait_until};
use crate::postgres::new_database;
use client::{Client, WhenUnknown};
use history::{Shared, commit_line};

const CLIENTS: usize = 8;
/// The last of the clients never settle what they are not told.
const CLIENTS_THAT_LEAVE: usize = 3;
const KILLS_PER_ROUND: usize = 5;
/// A kill comes after so many answers: of a life that had some, and not always at the same place.
const ANSWERS_PER_LIFE: std::ops::Range<u64> = 40..300;
/// How long the next life has to wait before its first commit, on a store on a server.
const LEASE_MS: &str = "500";
/// A log is streamed, and clients end, in far less than that.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_history_over_many_deaths_is_linearizable_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    soak("sqlite", &format!("sqlite:{}", directory.path().join("store.sqlite").display()));
}

#[test]
fn a_history_over_many_deaths_is_linearizable_on_postgresql() {
    soak("postgresql", &new_database("linearizability"));
}

/// A number that the environment sets.
fn number_of(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {value:?}")))
}

/// One round, or as many as it takes to fill the time that is asked for. Each has customers of its own, since what is
/// searched grows faster than what is done.
fn soak(store: &str, url: &str) {
    let seconds = number_of("GAMESHELF_TEST_SOAK_SECONDS").unwrap_or(0);
    let first_seed = number_of("GAMESHELF_TEST_SEED").unwrap_or_else(|| SystemRandom.below(1 << 32));
    let end = Instant::now() + Duration::from_secs(seconds);
    let runtime = Runtime::new().unwrap();
    let mut arbiter = Arbiter::start(url);
    for seed in first_seed.. {
        println!("{store}: this round is GAMESHELF_TEST_SEED={seed}");
        let lines = Round::new(&runtime, &mut arbiter, seed).play();
        assert_worth_a_check(&lines);
        check(store, &lines);
        if Instant::now() >= end {
            break;
        }
    }
}

/// The process of an arbiter.
struct Arbiter {
    process: Process,
    url: String,
    listen: String,
}

impl Arbiter {
    fn start(url: &str) -> Self {
        let listen = format!("127.0.0.1:{}", free_port_base());
        Self { process: start_process(url, &listen), url: url.to_owned(), listen }
    }

    /// Ends it without a warning, and starts it on the same store and port.
    fn kill_and_start_again(&mut self) {
        self.process.kill();
        self.process = start_process(&self.url, &self.listen);
    }

    /// A peer that tells every failure, rather than trying again by itself.
    fn outbound(&self) -> Outbound {
        let config = OutboundConfig { attempts: 1, ..OutboundConfig::default() };
        Outbound::new("arbiter", &self.listen.parse().unwrap(), &config, &Environment::system())
    }
}

fn start_process(url: &str, listen: &str) -> Process {
    let mut command = gameshelf();
    command.args(["arbiter", "--listen", listen, "--database-url", url, "--lease-ms", LEASE_MS]);
    // Its connections are spread over two threads; and so few new entitlements wait in memory that many are carried over.
    command.args(["--worker-threads", "2", "--memtable-rows", "20"]);
    Process::start(&mut command)
}

/// Clients, and an arbiter that dies under them.
struct Round<'a> {
    runtime: &'a Runtime,
    arbiter: &'a mut Arbiter,
    seed: u64,
    random: StdRng,
}

impl<'a> Round<'a> {
    fn new(runtime: &'a Runtime, arbiter: &'a mut Arbiter, seed: u64) -> Self {
        Self { runtime, arbiter, seed, random: StdRng::seed_from_u64(seed) }
    }

    /// Returns what the clients saw, and what the log has in the end.
    fn play(mut self) -> Vec<Value> {
        let before = self.head();
        let (shared, stop) = (Arc::new(Shared::new()), CancellationToken::new());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| self.client(number, &shared, &stop))
            .map(|client| self.runtime.spawn(client.run()))
            .collect();
        for _ in 0..KILLS_PER_ROUND {
            self.live(&shared, &clients);
            self.arbiter.kill_and_start_again();
        }
        self.live(&shared, &clients);
        stop.cancel();
        let ended = async {
            let mut lines = Vec::new();
            for client in clients {
                lines.extend(client.await.expect("a client does not panic"));
            }
            lines
        };
        let mut lines = self.in_time(ended);
        // What a client left behind may still be on its way: with this process it dies, or it is in the log.
        self.arbiter.kill_and_start_again();
        let log = self.log(before);
        assert_eq!(log.first().map(|commit| commit.revision), Some(before.revision + 1));
        lines.extend(log.iter().map(commit_line));
        lines
    }

    fn client(&self, number: usize, shared: &Arc<Shared>, stop: &CancellationToken) -> Client {
        let _in_runtime = self.runtime.enter();
        let leaves = number >= CLIENTS - CLIENTS_THAT_LEAVE;
        Client {
            number,
            stub: ArbiterServiceClient::new(self.arbiter.outbound().calls()),
            random: StdRng::seed_from_u64(self.seed.wrapping_mul(CLIENTS as u64).wrapping_add(number as u64)),
            when_unknown: if leaves { WhenUnknown::Leave } else { WhenUnknown::Repeat },
            shared: Arc::clone(shared),
            stop: stop.clone(),
            round: format!("r{}", self.seed),
            environment: Environment::system(),
            newest: None,
            sent: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Lets the arbiter live until it has answered a while. A client that has ended by itself has failed, which is told when
    /// it is waited for.
    fn live(&mut self, shared: &Shared, clients: &[JoinHandle<Vec<Value>>]) {
        let enough = shared.answered() + self.random.random_range(ANSWERS_PER_LIFE);
        wait_until("the clients are answered", || {
            shared.answered() >= enough || clients.iter().any(JoinHandle::is_finished)
        });
    }

    fn in_time<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(PATIENCE, future).await };
        self.runtime.block_on(limited).expect("it ends in time")
    }

    /// The newest revision, as soon as the arbiter serves.
    fn head(&self) -> Token {
        let outbound = {
            let _in_runtime = self.runtime.enter();
            self.arbiter.outbound()
        };
        let mut stub = ArbiterServiceClient::new(outbound.calls());
        let head =
            wait_for("the arbiter serves", || self.runtime.block_on(stub.get_head(GetHeadRequest {})).ok());
        head.into_inner().provenance.unwrap().token.parse().unwrap()
    }

    /// Every commit after this one.
    fn log(&self, before: Token) -> Vec<Commit> {
        let newest = self.head();
        let outbound = {
            let _in_runtime = self.runtime.enter();
            self.arbiter.outbound()
        };
        let mut stub = ArbiterServiceClient::new(outbound.streams());
        self.in_time(async {
            let start = Some(Start::AfterToken(before.to_string()));
            let mut stream =
                stub.watch(WatchRequest { start, ..WatchRequest::default() }).await.unwrap().into_inner();
            let mut commits: Vec<Commit> = Vec::new();
            while commits.last().map_or(before.revision, |last| last.revision) < newest.revision {
                let response = stream.message().await.unwrap().expect("the stream goes on");
                if let Some(Event::Commits(more)) = response.event {
                    commits.extend(more.commits);
                }
            }
            commits
        })
    }
}

/// A history in which nothing goes wrong and nobody is refused would pass any check.
fn assert_worth_a_check(lines: &[Value]) {
    let has = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        assert!(lines.iter().any(holds), "there is no {what} in the history");
    };
    has("unknown outcome", &|line| line["outcome"] == "unknown");
    has("refusal", &|line| line["outcome"] == "refused");
    let sold_out = |one: &Value| one["type"] == "IN_STOCK";
    has("copy that was wanted in vain", &|line| {
        line["blocked"].as_array().is_some_and(|blocked| blocked.iter().any(sold_out))
    });
    has("strong read", &|line| line["kind"] == "read" && line["at_least"].is_null());
    has("read at least as fresh as a token", &|line| line["at_least"].is_u64());
    has("commit", &|line| line["kind"] == "commit");
}

/// Where the history of the last round on a store is, for whoever wants to look.
fn artifact(store: &str, extension: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("linearizability-{store}.{extension}"))
}

fn check(store: &str, lines: &[Value]) {
    let checker = std::env::var_os("GAMESHELF_TEST_LINEARIZABILITY").expect(
        "GAMESHELF_TEST_LINEARIZABILITY must name the checker: ./test and scripts/with-tools build it",
    );
    let (history, picture) = (artifact(store, "jsonl"), artifact(store, "html"));
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&history, text.join("\n")).unwrap();
    let mut command = Command::new(checker);
    command.arg("-history").arg(&history).arg("-picture").arg(&picture);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    match output.status.code() {
        Some(0) => {}
        Some(1) => panic!(
            "the history is not linearizable:\n{said}\nhistory: {}\npicture of a group without an order: {}",
            history.display(),
            picture.display()
        ),
        _ => panic!("the checker could not decide: {output:?}\nhistory: {}", history.display()),
    }
}
