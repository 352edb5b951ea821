//! The mesh on a simulated network: partitions, loss, slow and half-open connections, crashes and names that change. A
//! seed determines a run; `GAMESHELF_TEST_SEEDS=1000` runs more of them than `./test` does, `GAMESHELF_TEST_SEED` one.

mod faults;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh::outbound::discovery::{Dns, DnsConfig, StaticList};
use mesh::outbound::{Address, Dispatch, DispatchConfig, OutboundConfig};
use tokio::time::Instant;
use tonic::{Response, Status};
use turmoil::{Builder, Sim};

use crate::cluster::{ask, is_serving};
use crate::support::Text;
use faults::Faults;
use world::{Names, PORT, environment, serve};

const MAX_LATENCY: Duration = Duration::from_millis(10);
/// How long things begin to go wrong.
const TROUBLE: Duration = Duration::from_secs(15);
/// After this, all of them have ended.
const CALM: Duration = Duration::from_secs(20);

fn config() -> DispatchConfig {
    DispatchConfig {
        attempt_timeout_ms: 300,
        breaker_base_ms: 500,
        breaker_max_ms: 4_000,
        health_backoff_max_ms: 1_000,
        outbound: OutboundConfig {
            timeout_ms: 3_000,
            attempts: 4,
            connect_timeout_ms: 300,
            keepalive_interval_ms: 500,
            keepalive_timeout_ms: 500,
            ..OutboundConfig::default()
        },
        ..DispatchConfig::default()
    }
}

fn simulation(seed: u64) -> Sim<'static> {
    let mut sim = Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_mins(5))
        .tick_duration(Duration::from_millis(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(MAX_LATENCY)
        .repair_rate(0.2)
        .tcp_capacity(4_096)
        .build();
    for (name, version) in [("one", "1.0.1"), ("two", "1.0.1"), ("three", "1.0.0")] {
        sim.host(name, move || serve(name, version, seed));
    }
    sim
}

/// What happens in a run, in order.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: &str) {
        self.0.lock().unwrap().push(format!("{} ms: {what}", turmoil::elapsed().as_millis()));
    }

    fn answer(&self, answer: &Result<Response<Text>, Status>) {
        let tried = crate::cluster::tried(answer);
        match answer {
            Ok(answer) => self.add(&format!("{} ({tried})", answer.get_ref().text)),
            Err(status) => self.add(&format!("{:?} ({tried})", status.code())),
        }
    }
}

/// Calls until the trouble is over; no call fails and none takes longer than it may, since one instance is well.
async fn call_on(dispatch: &Dispatch, log: &Log) -> turmoil::Result {
    let began = Instant::now();
    while began.elapsed() < CALM {
        let sent = Instant::now();
        let answer = ask(dispatch).await;
        log.answer(&answer);
        let took = sent.elapsed();
        if answer.is_err() || took > Duration::from_secs(3) {
            return Err(format!("after {took:?}: {answer:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// After the trouble, the newest version is asked again, by all its instances.
async fn call_until_all_is_well(dispatch: &Dispatch, log: &Log) -> turmoil::Result {
    let began = Instant::now();
    while !dispatch.instances().iter().all(|one| is_serving(one) && !one.is_ejected) {
        if began.elapsed() > Duration::from_secs(30) {
            return Err(format!("{:?}", dispatch.instances()).into());
        }
        // An instance that was ejected comes back by a call that probes it.
        ask(dispatch).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let answer = ask(dispatch).await;
    log.answer(&answer);
    if answer?.get_ref().text == "three" { Err("the newest is not preferred".into()) } else { Ok(()) }
}

fn dispatch_to_all(seed: u64) -> Dispatch {
    let addresses = ["one", "two", "three"].map(|host| Address::from((turmoil::lookup(host), PORT)));
    let environment = environment(seed, &Names::default());
    Dispatch::new("echo", &"^1.0".parse().unwrap(), &StaticList::new(addresses), &config(), &environment)
}

/// One run: its log, and how it ended.
fn run(seed: u64) -> (Vec<String>, Result<(), String>) {
    let mut sim = simulation(seed);
    let log = Log::default();
    let caller = log.clone();
    sim.client("caller", async move {
        let dispatch = dispatch_to_all(seed);
        call_on(&dispatch, &caller).await?;
        call_until_all_is_well(&dispatch, &caller).await
    });
    let mut faults = Faults::of_seed(seed, TROUBLE);
    let end = loop {
        let mut happened = Vec::new();
        faults.apply(&mut sim, &mut happened);
        log.0.lock().unwrap().extend(happened);
        match sim.step() {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(error.to_string()),
        }
    };
    let log = log.0.lock().unwrap().clone();
    (log, end)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_call_fails_whatever_goes_wrong_while_one_instance_is_well() {
    let seeds = match number("GAMESHELF_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GAMESHELF_TEST_SEEDS").unwrap_or(50),
    };
    for seed in seeds {
        let (log, end) = run(seed);
        assert_eq!(end, Ok(()), "GAMESHELF_TEST_SEED={seed}, which did:\n{}", log.join("\n"));
    }
}

#[test]
fn one_seed_twice_gives_the_same_events() {
    for seed in [1, 7] {
        let (first, second) = (run(seed), run(seed));
        assert!(first.0.iter().any(|event| event.contains("begins")));
        assert_eq!(first, second);
    }
    assert_ne!(run(1), run(7));
}

#[test]
fn instances_that_dns_adds_and_takes_away_are_followed_without_a_call_that_fails() {
    let mut sim = simulation(3);
    let log = Log::default();
    sim.client("caller", async move {
        let names = Names::default();
        names.set(&["one"]);
        let every =
            DnsConfig { interval_ms: 500, min_interval_ms: 100, timeout_ms: 500, ..DnsConfig::default() };
        let environment = environment(3, &names);
        let dns = Dns::new(&"echo:7000".parse()?, every, &environment);
        let dispatch = Dispatch::new("echo", &"^1.0".parse()?, &dns, &config(), &environment);
        // Each name stands beside another one long enough for both to be known; the last resolution finds none.
        for (hosts, expected) in [
            (&["one"][..], 1),
            (&["one", "two"], 2),
            (&["two"], 1),
            (&["two", "three"], 2),
            (&["three"], 1),
            (&[], 1),
        ] {
            names.set(hosts);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(2) {
                let answer = ask(&dispatch).await;
                log.answer(&answer);
                answer?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let all = dispatch.instances();
            assert!(all.len() == expected && all.iter().all(is_serving), "{hosts:?}: {all:?}");
        }
        assert_eq!(ask(&dispatch).await?.into_inner().text, "three");
        Ok(())
    });
    sim.run().unwrap();
}
