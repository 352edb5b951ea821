//! Several instances of one service, each a process of its own, which are killed, stopped and restarted under load: no call fails.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mesh::environment::Environment;
use mesh::outbound::discovery::StaticList;
use mesh::outbound::dispatch::{Condition, InstanceReport};
use mesh::outbound::{Calls, Dispatch, DispatchConfig, OutboundConfig};
use tempfile::TempDir;
use tickets::proto::tickets::v1::ticket_service_client::TicketServiceClient;
use tickets::proto::tickets::v1::{AddRequest, QueryRequest};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{Process, free_port_base, gameshelf, is_running, signal};

/// A wait this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Calls at once.
const IN_FLIGHT: usize = 8;
/// Calls of which the latency is judged together.
const WINDOW: usize = 3_000;
/// What is quicker than this is as good as this: below it the machine's hiccups decide.
const QUICK: Duration = Duration::from_millis(2);

/// These tests take turns, since one that measures must not feel the load of another.
static TURN: Mutex<()> = Mutex::const_new(());

/// Instances on one database, and a caller of all of them.
pub(crate) struct Cluster {
    directory: TempDir,
    instances: Vec<(SocketAddr, &'static str, Process)>,
    dispatch: Dispatch,
    pub(crate) ticket_id: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts an instance of each of these versions.
    pub(crate) async fn start(versions: &[&'static str], config: &DispatchConfig) -> Self {
        let turn = TURN.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let ports = free_port_base()..;
        let addresses: Vec<_> = versions
            .iter()
            .zip(ports)
            .map(|(_, port)| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .collect();
        let list = StaticList::new(addresses.iter().map(|address| (*address).into()));
        let environment = Environment::system();
        let dispatch = Dispatch::new("tickets", &"^1.0".parse().unwrap(), &list, config, &environment);
        let instances = addresses.into_iter().zip(versions);
        let instances =
            instances.map(|(address, build)| (address, *build, spawn(&directory, address, build)));
        let mut cluster =
            Self { instances: instances.collect(), directory, dispatch, ticket_id: 0, _turn: turn };
        cluster.until(|all| all.len() == versions.len() && all.iter().all(is_used)).await;
        let request = AddRequest {
            request_id: "01900000-0000-7000-8000-000000000001".to_owned(),
            title: "it does not start".to_owned(),
            priority: None,
        };
        let added = cluster.client().add(request).await.unwrap().into_inner();
        cluster.ticket_id = added.ticket.unwrap().ticket_id;
        cluster
    }

    pub(crate) fn client(&self) -> TicketServiceClient<Calls> {
        TicketServiceClient::new(self.dispatch.calls())
    }

    pub(crate) fn signal(&self, at: usize, name: &str) {
        signal(self.instances[at].2.pid(), name);
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.instances.iter().map(|(address, ..)| *address).collect()
    }

    /// Starts an instance again where it was, after its process has ended.
    pub(crate) async fn start_again(&mut self, at: usize) {
        let (address, build, process) = &mut self.instances[at];
        // The calls go on meanwhile: nothing here may hold the thread up.
        let ended = tokio::time::timeout(PATIENCE, async {
            while is_running(process.pid()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        ended.await.expect("it ends");
        process.end();
        *process = spawn(&self.directory, *address, build);
    }

    /// Waits for what must come to be known of the instances.
    async fn until(&self, holds: impl Fn(&[InstanceReport]) -> bool) {
        let holds = self.dispatch.wait_for(PATIENCE, holds).await;
        assert!(holds, "{:?}", self.dispatch.instances());
    }

    fn report(&self, at: usize) -> InstanceReport {
        let address = self.instances[at].0.into();
        let reports = self.dispatch.instances();
        reports.into_iter().find(|report| report.address == address).unwrap()
    }

    /// Waits for what must come to be known of one instance. Calls tell it, so this looks again and again.
    async fn until_one(&self, at: usize, what: &str, holds: impl Fn(&InstanceReport) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.report(at)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}: {:?}", self.report(at));
    }

    /// Calls without a pause until it is told to stop.
    fn load(&self) -> Load {
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (client, ticket_id, stopped, counted) =
            (self.client(), self.ticket_id, stop.clone(), done.clone());
        let calling = tokio::spawn(async move {
            // Those under way when it is told to stop are waited for: they must not fail either.
            let calls = stream::repeat_with(|| call(client.clone(), ticket_id));
            let until_stopped = calls.take_until(stopped.cancelled_owned());
            let mut calls = Box::pin(until_stopped.buffer_unordered(IN_FLIGHT));
            while calls.next().await.is_some() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Load { stop, done, calling }
    }

    /// The latency of the slowest but one in a hundred of so many calls.
    async fn p99(&self) -> Duration {
        let client = self.client();
        let calls = stream::iter(0..WINDOW).map(|_| call(client.clone(), self.ticket_id));
        let mut latencies: Vec<Duration> = calls.buffer_unordered(IN_FLIGHT).collect().await;
        latencies.sort_unstable();
        latencies[WINDOW * 99 / 100]
    }
}

/// Calls that go on in the background; one that fails ends the test.
struct Load {
    stop: CancellationToken,
    done: Arc<AtomicU64>,
    calling: JoinHandle<()>,
}

impl Load {
    /// Waits until so many more calls were answered.
    async fn more(&self, calls: u64) {
        let until = self.done.load(Ordering::Relaxed) + calls;
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.done.load(Ordering::Relaxed) < until && !self.calling.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("the calls go on");
    }

    async fn end(self) {
        self.stop.cancel();
        self.calling.await.expect("no call fails");
    }
}

/// One call, which must not fail: how long it took.
async fn call(mut client: TicketServiceClient<Calls>, ticket_id: u64) -> Duration {
    let began = Instant::now();
    let answer = client.query(QueryRequest { ticket_id }).await;
    let answer = answer.unwrap_or_else(|status| panic!("a call failed: {status:?} {:?}", status.metadata()));
    assert_eq!(answer.get_ref().ticket.as_ref().unwrap().ticket_id, ticket_id);
    began.elapsed()
}

fn spawn(directory: &TempDir, address: SocketAddr, build: &str) -> Process {
    let mut command = gameshelf();
    command.args(["example", "tickets-service", "--bind-wait-ms", "10000", "--listen", &address.to_string()]);
    command.args(["--build", build, "--database-file"]).arg(directory.path().join("tickets.sqlite"));
    Process::start(&mut command)
}

fn is_used(report: &InstanceReport) -> bool {
    matches!(report.condition, Condition::Serving(_)) && !report.is_ejected
}

/// Waits until an instance answers calls: more of them than by now.
async fn until_it_answers(cluster: &Cluster, at: usize) {
    cluster.until_one(at, "an instance is used again", is_used).await;
    // What it answered before it went is forgotten after ten seconds at the latest.
    let before = cluster.report(at).succeeded;
    cluster.until_one(at, "an instance answers again", |report| report.succeeded > before).await;
}

#[tokio::test]
async fn no_call_fails_when_an_instance_is_killed_under_load() {
    let mut cluster = Cluster::start(&["1.0.1", "1.0.1", "1.0.1"], &DispatchConfig::default()).await;
    let load = cluster.load();
    load.more(500).await;
    cluster.signal(0, "KILL");
    cluster.until_one(0, "its end is known", |report| !is_used(report)).await;
    load.more(500).await;
    // It comes back, and is used again.
    cluster.start_again(0).await;
    until_it_answers(&cluster, 0).await;
    load.end().await;
}

#[tokio::test]
async fn no_call_fails_while_the_instances_are_restarted_one_after_another() {
    let mut cluster = Cluster::start(&["1.0.1", "1.0.0", "1.0.1"], &DispatchConfig::default()).await;
    let load = cluster.load();
    for (at, name) in [(0, "TERM"), (1, "KILL"), (2, "TERM"), (0, "KILL")] {
        load.more(200).await;
        cluster.signal(at, name);
        cluster.start_again(at).await;
        cluster.until_one(at, "it serves again", is_used).await;
    }
    load.more(200).await;
    load.end().await;
}

/// The latency of calls before an instance hangs and afterwards.
#[derive(Debug)]
struct Felt {
    before: Duration,
    /// As soon as it is noticed.
    first: Duration,
    /// The best of up to three times: a hiccup of the machine must not decide.
    best: Duration,
}

/// Stops the first of these instances, as what hangs does that closes nothing.
async fn felt_of_a_stop(
    versions: &[&'static str],
    config: &DispatchConfig,
    is_noticed: impl Fn(&InstanceReport) -> bool,
) -> Felt {
    let cluster = Cluster::start(versions, config).await;
    let load = cluster.load();
    load.more(1_000).await;
    load.end().await;
    let before = cluster.p99().await.max(QUICK);

    let load = cluster.load();
    load.more(100).await;
    cluster.signal(0, "STOP");
    cluster.until_one(0, "it is noticed that it hangs", is_noticed).await;
    load.end().await;
    let first = cluster.p99().await;
    let mut best = first;
    for _ in 0..2 {
        if best >= before * 3 {
            best = best.min(cluster.p99().await);
        }
    }
    let load = cluster.load();
    cluster.signal(0, "CONT");
    until_it_answers(&cluster, 0).await;
    load.end().await;
    Felt { before, first, best }
}

/// Calls to it were not answered in time.
fn timed_out(report: &InstanceReport, calls: u32) -> bool {
    report.answers - report.succeeded >= calls
}

#[tokio::test]
async fn callers_do_not_feel_an_instance_that_hangs_once_it_is_ejected_and_use_it_again_afterwards() {
    // The only one of the newest version: every call would go there first.
    let config = DispatchConfig::default();
    let felt = felt_of_a_stop(&["1.0.1", "1.0.0", "1.0.0"], &config, |report| report.is_ejected).await;
    assert!(felt.best < felt.before * 3, "{felt:?}");
}

#[tokio::test]
async fn callers_do_not_feel_one_of_several_equal_instances_that_hangs() {
    // Who takes long is avoided already before it has failed often enough to be ejected.
    let config = DispatchConfig::default();
    let felt = felt_of_a_stop(&["1.0.1", "1.0.1", "1.0.1"], &config, |report| timed_out(report, 1)).await;
    assert!(felt.best < felt.before * 3, "{felt:?}");
}

#[tokio::test]
async fn without_the_breaker_callers_would_feel_an_instance_that_hangs() {
    // Nor do pings help, which would tell after 5 s that nobody is there.
    let outbound = OutboundConfig { keepalive_interval_ms: 15_000, ..OutboundConfig::default() };
    let config = DispatchConfig { breaker_failures: 1_000_000, outbound, ..DispatchConfig::default() };
    let felt = felt_of_a_stop(&["1.0.1", "1.0.0", "1.0.0"], &config, |report| timed_out(report, 10)).await;
    assert!(felt.first >= felt.before * 3, "{felt:?}: the breaker is not what helps");
}
