//! One instance: what it says of itself, whether it is there, and how the calls to it go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::sync::watch;

use super::answers::Answers;
use super::breaker::{Breaker, Permission};
use super::config::DispatchConfig;
use super::load::PeakEwma;
use crate::environment::{Clock, Environment, Random};
use crate::outbound::Address;
use crate::outbound::transport::Transport;
use crate::version::{Description, Version};

/// What is known of an instance without calling it for anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It was not asked yet, or has not answered yet.
    Unknown,
    /// It is there and takes calls.
    Serving(Arc<Description>),
    /// It is there and says that it takes none: it begins, ends, or has lost what it needs.
    NotServing(Arc<Description>),
    /// It cannot be reached, or does not answer.
    Unreachable,
    /// It does not say what it is, or is something else. What it would do with a call is unknown: it gets none.
    Unusable(Arc<str>),
}

/// One instance as it is seen from here.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceReport {
    /// Where it is.
    pub address: Address,
    /// What is known of it.
    pub condition: Condition,
    /// Whether it is ejected after failures in a row; a probe that is out counts as ejected.
    pub is_ejected: bool,
    /// Calls that are with it now.
    pub in_flight: u32,
    /// The latency that is expected of it.
    pub latency: Duration,
    /// Its answers of the last ten seconds.
    pub answers: u32,
    /// Those of them that succeeded.
    pub succeeded: u32,
}

/// How the calls to an instance go.
#[derive(Clone, Copy, Debug)]
struct Vitals {
    load: PeakEwma,
    breaker: Breaker,
    answers: Answers,
    in_flight: u32,
}

/// What a call did to its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It answered, if only by a refusal.
    Succeeded,
    /// It was not there, or did not answer in time.
    Failed,
    /// It said in time that it has no room now, and when it may have: it is there, and to eject it would only take the
    /// room away that it has.
    Refused,
}

/// One instance of a service.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) address: Address,
    pub(super) transport: Transport,
    condition: watch::Sender<Condition>,
    vitals: Mutex<Vitals>,
    /// What is told of a call that it answered at once, which most do; made anew when its version changes.
    answered: Mutex<Option<(Version, HeaderValue)>>,
    initial: PeakEwma,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Instance {
    pub(super) fn new(
        peer: &Arc<str>,
        address: &Address,
        config: &DispatchConfig,
        environment: &Environment,
    ) -> Self {
        let now = environment.clock.monotonic();
        let initial = PeakEwma::new(
            Duration::from_millis(config.initial_latency_ms),
            Duration::from_millis(config.latency_decay_ms),
            now,
        );
        Self {
            address: address.clone(),
            transport: Transport::new(peer, address, &config.outbound, environment),
            condition: watch::Sender::new(Condition::Unknown),
            vitals: Mutex::new(Vitals {
                load: initial,
                breaker: Breaker::new(config.breaker()),
                answers: Answers::new(now),
                in_flight: 0,
            }),
            answered: Mutex::default(),
            initial,
            clock: environment.clock.clone(),
            random: environment.random.clone(),
        }
    }

    pub(super) fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Notes what is known now; whether that is something new.
    pub(super) fn learn(&self, condition: Condition) -> bool {
        self.condition.send_if_modified(|known| {
            let is_new = *known != condition;
            if is_new {
                *known = condition;
            }
            is_new
        })
    }

    /// It has answered over a new connection.
    pub(super) fn found_again(&self) {
        self.vitals().breaker.found_again(self.clock.monotonic());
    }

    /// The version, the load and whether it wants a probe, of an instance that may be called at a time.
    pub(super) fn available(&self, now: Instant) -> Option<(Version, f64, bool)> {
        let Condition::Serving(description) = &*self.condition.borrow() else { return None };
        let vitals = self.vitals();
        let wants_probe = match vitals.breaker.permission(now) {
            Permission::Closed => false,
            Permission::Probe => true,
            Permission::Open => return None,
        };
        Some((description.version.clone(), vitals.load.load(vitals.in_flight, now), wants_probe))
    }

    /// What is told of a call that it answered at once, made by `tell` when it is not known for this version.
    pub(super) fn answered(&self, version: &Version, tell: impl FnOnce() -> HeaderValue) -> HeaderValue {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match &*answered {
            Some((known, header)) if known == version => header.clone(),
            _ => {
                let header = tell();
                *answered = Some((version.clone(), header.clone()));
                header
            }
        }
    }

    pub(super) fn does_well(&self) -> bool {
        self.vitals().answers.does_well(self.clock.monotonic())
    }

    /// Begins a call; none where the instance was ejected meanwhile, or another call probes it.
    pub(super) fn begin(self: &Arc<Self>) -> Option<InFlight> {
        let now = self.clock.monotonic();
        let mut vitals = self.vitals();
        if vitals.breaker.permission(now) == Permission::Open {
            return None;
        }
        vitals.in_flight = vitals.in_flight.saturating_add(1);
        let probe = vitals.breaker.begin(now);
        drop(vitals);
        Some(InFlight { instance: self.clone(), began: now, probe, ended: false })
    }

    pub(super) fn report(&self) -> InstanceReport {
        let now = self.clock.monotonic();
        let vitals = *self.vitals();
        let (answers, succeeded) = vitals.answers.tally(now);
        InstanceReport {
            address: self.address.clone(),
            condition: self.condition(),
            is_ejected: vitals.breaker.permission(now) != Permission::Closed,
            in_flight: vitals.in_flight,
            latency: vitals.load.estimate(now),
            answers,
            succeeded,
        }
    }

    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        // Nothing that holds the lock leaves the numbers in between.
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is with an instance. Dropped before its end, it was given up: that says how long nothing came, and
/// nothing of whether something would have.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) instance: Arc<Instance>,
    began: Instant,
    probe: bool,
    ended: bool,
}

impl InFlight {
    /// The time that has passed.
    pub(super) fn elapsed(&self) -> Duration {
        self.instance.clock.monotonic().saturating_duration_since(self.began)
    }

    /// Ends the call; whether that ejected the instance.
    pub(super) fn end(mut self, effect: Effect) -> bool {
        self.ended = true;
        let succeeded = effect == Effect::Succeeded;
        let now = self.instance.clock.monotonic();
        let mut vitals = self.instance.vitals();
        vitals.answers.record(succeeded, now);
        vitals.load.observe(now.saturating_duration_since(self.began), succeeded, now);
        if effect == Effect::Refused {
            vitals.breaker.abandoned(self.probe, now);
            return false;
        }
        if succeeded {
            if vitals.breaker.succeeded(self.probe, now) {
                // The latencies from when it was not well say nothing any more.
                vitals.load = self.instance.initial;
                drop(vitals);
                self.note("the instance answers again and gets calls again");
            }
            return false;
        }
        let ejects = vitals.breaker.failed(self.probe, jitter(&*self.instance.random), now);
        drop(vitals);
        if ejects {
            self.note("the instance failed too often in a row and gets no calls for a while");
        }
        ejects
    }

    fn note(&self, what: &str) {
        tracing::warn!(target: "mesh::dispatch", address = %self.instance.address, probe = self.probe, "{what}");
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut vitals = self.instance.vitals();
        vitals.in_flight = vitals.in_flight.saturating_sub(1);
        if !self.ended {
            let now = self.instance.clock.monotonic();
            vitals.load.observe(now.saturating_duration_since(self.began), false, now);
            vitals.breaker.abandoned(self.probe, now);
        }
    }
}

/// A number from 0 to below 1.
fn jitter(random: &dyn Random) -> f64 {
    u32::try_from(random.below(1 << 20)).map_or(0.0, f64::from) / f64::from(1u32 << 20)
}
