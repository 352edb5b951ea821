//! An answer leaves after what it says is on the disk: strace sees the store's log written, then synced, then the answer.
//!
//! A process that is killed proves less, since what it has written to a file stays in the machine's memory: only a
//! machine that loses its power tells. So it is looked at what the machine was asked for, and when.

mod http2;
mod strace;

use std::collections::BTreeMap;
use std::fs;

use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{Cause, GetHeadRequest, GrantRequest, Reason};
use mesh::environment::{Environment, Random, SystemRandom};
use mesh::outbound::{Calls, Outbound, OutboundConfig};
use sqlx::{ConnectOptions, Row};
use tokio::runtime::Runtime;

use crate::harness::{Process, free_port_base, gameshelf, wait_until};
use crate::postgres::new_database;
use http2::Bytes;
use strace::{Call, Strace};

const GRANTS: usize = 20;
/// How often it is looked, on a server that others use too.
const LOOKS: usize = 10;

/// A name that stands in the request, and in what the store writes for it.
fn customer(number: usize) -> String {
    format!("durable-customer-{number:03}")
}

/// A client of an arbiter on this address.
struct Client {
    runtime: Runtime,
    stub: ArbiterServiceClient<Calls>,
}

impl Client {
    fn new(listen: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let (environment, config) = (Environment::system(), OutboundConfig::default());
        let outbound = {
            let _in_runtime = runtime.enter();
            Outbound::new("arbiter", &listen.parse().unwrap(), &config, &environment)
        };
        Self { runtime, stub: ArbiterServiceClient::new(outbound.calls()) }
    }

    fn wait(&mut self) {
        wait_until("the arbiter serves", || {
            self.runtime.block_on(self.stub.get_head(GetHeadRequest {})).is_ok()
        });
    }

    fn grant(&mut self, customer_id: String, game_id: &str) {
        let random = SystemRandom.bytes10();
        let now_ms = Environment::system().clock.unix_ms();
        let request = GrantRequest {
            request_id: gameshelf::ids::RequestId::new_v7(now_ms, random).to_string(),
            customer_id,
            game_ids: vec![game_id.to_owned()],
            cause: Some(Cause { reason: Reason::Gift.into(), ..Cause::default() }),
            ..GrantRequest::default()
        };
        self.runtime.block_on(self.stub.grant(request)).unwrap();
    }

    /// Grants one game after another, each when the one before it was answered.
    fn grant_one_by_one(&mut self, game_id: &str) {
        (0..GRANTS).for_each(|number| self.grant(customer(number), game_id));
    }
}

/// When each request was received and its answer sent: the end of the last call that read it, and the beginning of the first
/// that wrote an answer.
fn answers<'a>(calls: &'a [Call], listen: &str) -> BTreeMap<String, (&'a Call, &'a Call)> {
    let of_arbiter = format!("TCP:[{listen}->");
    let mut connections: BTreeMap<&str, [Bytes<&Call>; 2]> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.target.starts_with(&of_arbiter)) {
        let directions = connections.entry(&call.target).or_insert_with(|| [Bytes::new(), Bytes::new()]);
        let is_sent = call.name.starts_with("send") || call.name.starts_with("write");
        directions[usize::from(is_sent)].push(&call.data, call);
    }
    let mut answers = BTreeMap::new();
    for [received, sent] in connections.values() {
        let sent = sent.frames();
        for request in received.frames().iter().filter(|frame| frame.is_data()) {
            let text = String::from_utf8_lossy(request.payload);
            let Some(customer) = (0..GRANTS).map(customer).find(|name| text.contains(name)) else { continue };
            let answer = sent.iter().find(|frame| frame.is_headers() && frame.stream == request.stream);
            answers.insert(customer, (request.last, answer.expect("each request was answered").first));
        }
    }
    answers
}

/// That between each request and its answer the log was written, with what was asked for, and then synced; or for which it was not.
fn synced_before_answered(calls: &[Call], listen: &str, is_log: impl Fn(&str) -> bool) -> Result<(), String> {
    let answers = answers(calls, listen);
    assert_eq!(answers.len(), GRANTS, "each request was seen: {:?}", answers.keys());
    for (customer, (request, answer)) in answers {
        let is_between = |call: &&Call| request.end < call.begin && call.end < answer.begin;
        let on_log = || calls.iter().filter(|call| is_log(&call.target));
        let names = |call: &Call| call.data.windows(customer.len()).any(|part| part == customer.as_bytes());
        let is_write = |call: &&Call| call.name.contains("write") && names(call);
        let written = on_log().filter(is_write).filter(is_between).last();
        let Some(written) = written else {
            return Err(format!("the log was not written for {customer} before it was answered"));
        };
        let is_sync = |call: &&Call| call.name.ends_with("sync") && call.result == 0;
        let synced = on_log().filter(is_sync).filter(is_between).any(|sync| written.end < sync.begin);
        if !synced {
            return Err(format!("the log was not synced for {customer} before it was answered"));
        }
    }
    Ok(())
}

#[test]
fn an_answer_leaves_after_the_log_is_synced_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.sqlite");
    let listen = format!("127.0.0.1:{}", free_port_base());
    let mut command = gameshelf();
    command.args(["arbiter", "--listen", &listen, "--database-url", &format!("sqlite:{}", store.display())]);
    let strace = Strace::start(&command);
    let mut client = Client::new(&listen);
    client.wait();
    client.grant_one_by_one("tiny-forest");
    let log = format!("{}-wal", store.display());
    synced_before_answered(&strace.end(), &listen, |path| path == log).unwrap();
}

#[test]
fn an_answer_leaves_after_the_log_is_synced_on_postgresql() {
    let (url, listen) = (new_database("durability"), format!("127.0.0.1:{}", free_port_base()));
    let arbiter = Process::start(gameshelf().args(["arbiter", "--listen", &listen, "--database-url", &url]));
    let mut client = Client::new(&listen);
    client.wait();
    // The log is that of all databases of the server. What a commit of another one has synced already is not synced again, by processes
    // that are not looked at: whoever is alone for once must be seen to sync.
    let mut seen = Err(String::new());
    for number in 0..LOOKS {
        seen = look(&mut client, &format!("game-{number}"), arbiter.pid(), &url, &listen);
        if seen.is_ok() {
            break;
        }
    }
    seen.unwrap();
}

fn look(client: &mut Client, game_id: &str, arbiter: u32, url: &str, listen: &str) -> Result<(), String> {
    let mut pids = client.runtime.block_on(server_processes(url));
    pids.push(arbiter);
    let strace = Strace::attach(&pids);
    client.grant_one_by_one(game_id);
    synced_before_answered(&strace.end(), listen, |path| path.contains("/pg_wal/"))
}

/// The server's processes that may write or sync the log for this database, and the one that makes them: a connection that
/// is made later has a process that is made by it.
async fn server_processes(url: &str) -> Vec<u32> {
    const PROCESSES: &str = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()
        AND (datname = current_database() OR backend_type = 'walwriter')";
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query(PROCESSES).fetch_all(&mut connection).await.unwrap();
    let mut pids: Vec<u32> = rows.iter().map(|row| u32::try_from(row.get::<i32, _>(0)).unwrap()).collect();
    pids.push(parent(pids[0]));
    pids
}

/// The process that made a process.
fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("the server's processes are of this machine");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim().parse().unwrap()
}
