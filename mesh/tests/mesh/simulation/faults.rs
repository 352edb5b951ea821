//! What goes wrong, when, and for how long, as a seed determines it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use turmoil::Sim;

/// The links between the caller and the instances that may be harmed.
const CALLER: &str = "caller";
const VICTIMS: [&str; 2] = ["one", "two"];

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// What is sent is lost; connections stay as they are, half-open.
    Partition,
    /// Only the answers are lost.
    OneWay,
    /// What is sent arrives late, when all is over: the instance hangs.
    Hold,
    /// Each message takes up to as long as an attempt may.
    Slow,
    /// The link goes away and comes back by chance.
    Loss,
    /// The process ends, and is started again.
    Crash,
}

const KINDS: [Kind; 6] = [Kind::Partition, Kind::OneWay, Kind::Hold, Kind::Slow, Kind::Loss, Kind::Crash];

#[derive(Debug)]
struct Fault {
    kind: Kind,
    victim: &'static str,
    begins: Duration,
    ends: Duration,
    is_on: bool,
}

/// What goes wrong in one run.
#[derive(Debug)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// One fault after the other for each victim, so that none heals what another one harms.
    pub(crate) fn of_seed(seed: u64, until: Duration) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut faults = Vec::new();
        for victim in VICTIMS {
            let mut at = Duration::from_millis(random.random_range(500..3_000));
            while at < until {
                let ends = at + Duration::from_millis(random.random_range(500..4_000));
                let kind = KINDS[random.random_range(0..KINDS.len())];
                faults.push(Fault { kind, victim, begins: at, ends, is_on: false });
                at = ends + Duration::from_millis(random.random_range(500..3_000));
            }
        }
        Self(faults)
    }

    /// Brings the network to where it is at this time; what it did is told.
    pub(crate) fn apply(&mut self, sim: &mut Sim<'_>, log: &mut Vec<String>) {
        let now = sim.elapsed();
        for fault in &mut self.0 {
            let is_on = (fault.begins..fault.ends).contains(&now);
            if is_on != fault.is_on {
                fault.is_on = is_on;
                log.push(format!(
                    "{} ms: {:?} of {} {}",
                    now.as_millis(),
                    fault.kind,
                    fault.victim,
                    if is_on { "begins" } else { "ends" }
                ));
                if is_on { begin(fault, sim) } else { end(fault, sim) }
            }
        }
    }
}

fn begin(fault: &Fault, sim: &mut Sim<'_>) {
    match fault.kind {
        Kind::Partition => sim.partition(CALLER, fault.victim),
        Kind::OneWay => sim.partition_oneway(fault.victim, CALLER),
        Kind::Hold => sim.hold(CALLER, fault.victim),
        Kind::Slow => sim.set_link_max_message_latency(CALLER, fault.victim, Duration::from_millis(300)),
        Kind::Loss => sim.set_link_fail_rate(CALLER, fault.victim, 0.1),
        Kind::Crash => sim.crash(fault.victim),
    }
}

fn end(fault: &Fault, sim: &mut Sim<'_>) {
    match fault.kind {
        Kind::Partition => sim.repair(CALLER, fault.victim),
        Kind::OneWay => sim.repair_oneway(fault.victim, CALLER),
        Kind::Hold => sim.release(CALLER, fault.victim),
        Kind::Slow => sim.set_link_max_message_latency(CALLER, fault.victim, super::MAX_LATENCY),
        Kind::Loss => {
            sim.set_link_fail_rate(CALLER, fault.victim, 0.0);
            sim.repair(CALLER, fault.victim);
        }
        Kind::Crash => sim.bounce(fault.victim),
    }
}
