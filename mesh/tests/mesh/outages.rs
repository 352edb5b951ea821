//! Real processes that are killed, hang and come back under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mesh::environment::Environment;
use mesh::outbound::discovery::StaticList;
use mesh::outbound::{Address, Dispatch, DispatchConfig};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::{ask, is_serving, quick, tried, until};
use crate::process::Process;
use crate::support::soon;

/// How many calls are under way at once.
const CALLERS: usize = 8;

/// An instance in a process of its own.
struct Instance {
    process: Process,
    address: Address,
}

impl Instance {
    fn start(listen: &str) -> Self {
        let arguments =
            format!("--listen {listen} --bind-wait-ms 10000 --exit-on-stdin-close --described 1.0.0");
        let mut process = Process::start(&arguments, &[]);
        let address = process.address();
        Self { process, address }
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.address.host(), self.address.port())
    }
}

async fn dispatch_to(instances: &[Instance]) -> Dispatch {
    let list = StaticList::new(instances.iter().map(|instance| instance.address.clone()));
    let config = DispatchConfig { attempt_timeout_ms: 500, latency_decay_ms: 1_000, ..quick() };
    let environment = Environment::system();
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &config, &environment);
    until(&dispatch, |all| all.len() == 3 && all.iter().all(is_serving)).await;
    dispatch
}

/// Calls that go on until the test ends them.
struct Load {
    ends: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn begin(dispatch: &Dispatch) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicUsize::new(0));
        let caller = |_| tokio::spawn(call_on(dispatch.clone(), ends.clone(), calls.clone()));
        let callers = (0..CALLERS).map(caller).collect();
        Self { ends, calls, callers }
    }

    /// Waits for so many more calls.
    async fn more(&self, calls: usize) {
        let enough = self.calls.load(Ordering::SeqCst) + calls;
        soon(async {
            while self.calls.load(Ordering::SeqCst) < enough {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Who was tried for the calls that failed.
    async fn end(self) -> Vec<String> {
        self.ends.store(true, Ordering::SeqCst);
        let mut failed = Vec::new();
        for caller in self.callers {
            failed.extend(soon(caller).await.unwrap());
        }
        failed
    }
}

async fn call_on(dispatch: Dispatch, ends: Arc<AtomicBool>, calls: Arc<AtomicUsize>) -> Vec<String> {
    let mut failed = Vec::new();
    while !ends.load(Ordering::SeqCst) {
        let answer = ask(&dispatch).await;
        calls.fetch_add(1, Ordering::SeqCst);
        if answer.is_err() {
            failed.push(tried(&answer));
        }
    }
    failed
}

/// The 99th percentile of so many calls, made from several tasks at once.
async fn p99(dispatch: &Dispatch, calls: usize) -> Duration {
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let dispatch = dispatch.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                for _ in 0..calls / CALLERS {
                    let began = Instant::now();
                    ask(&dispatch).await.unwrap();
                    took.push(began.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(soon(caller).await.unwrap());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_of_three_processes_hanging_no_call_fails_and_none_waits_once_the_breaker_is_open() {
    let instances = [(); 3].map(|()| Instance::start("127.0.0.1:0"));
    let dispatch = dispatch_to(&instances).await;
    let normal = p99(&dispatch, 1_600).await;

    let load = Load::begin(&dispatch);
    load.more(100).await;
    let hanging = &instances[1];
    // It closes nothing, and answers nothing.
    hanging.process.signal("-STOP");
    let is_out = |one: &mesh::outbound::dispatch::InstanceReport| one.is_ejected || !is_serving(one);
    soon(async {
        while !dispatch.instances().iter().any(|one| one.address == hanging.address && is_out(one)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(load.end().await, Vec::<String>::new());
    let after = p99(&dispatch, 1_600).await;
    // Of so short a time the machine's own noise is a part; what waits for the hanging one takes 500 ms.
    assert!(after < (normal * 3).max(Duration::from_millis(60)), "{after:?} after {normal:?}");

    hanging.process.signal("-CONT");
    soon(async {
        while !tried(&ask(&dispatch).await).contains(&hanging.authority()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_and_started_again_under_load_fail_no_call() {
    let mut instances = [(); 3].map(|()| Instance::start("127.0.0.1:0"));
    let dispatch = dispatch_to(&instances).await;
    let load = Load::begin(&dispatch);
    for instance in &mut instances {
        load.more(200).await;
        instance.process.signal("-KILL");
        let gone = instance.address.clone();
        until(&dispatch, |all| all.iter().any(|one| one.address == gone && !is_serving(one))).await;
        *instance = Instance::start(&instance.authority());
        let back = instance.address.clone();
        until(&dispatch, |all| all.iter().any(|one| one.address == back && is_serving(one))).await;
    }
    load.more(200).await;
    assert_eq!(load.end().await, Vec::<String>::new());
}
