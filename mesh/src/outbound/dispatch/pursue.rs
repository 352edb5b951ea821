//! The way of one call from instance to instance, until one of them answers or nothing more may be tried.
//!
//! The next instance is tried at once: the next of the same version, then of the next older one. When all were
//! tried, those that were unavailable may be asked again, after a wait. What is sent beyond the first attempt draws on the
//! budget, but for the first fallback of a call towards an instance that does well: it can bear it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::Call;
use super::choice::{Candidate, choose};
use super::config::Policy;
use super::instance::{InFlight, Instance};
use super::meters::Repeat;
use super::outcome::{Answer, Cause, Outcome, Pushback, Verdict};
use super::shared::Shared;
use super::tried::Tried;
use crate::outbound::backoff::Backoff;
use crate::version::{TRIED, TRIED_HEADER, Version};

/// Sends a call until it is answered.
pub(super) async fn pursue(shared: &Shared, policy: Policy, call: Call) -> Answer {
    shared.budget.deposit();
    let backoff =
        Backoff::new(policy.backoff_base_ms, policy.backoff_max_ms, shared.environment.random.clone());
    let mut course = Course {
        shared,
        policy,
        backoff,
        call,
        passed_over: Vec::new(),
        steps: 0,
        last_asked: None,
        sent: 0,
        fallbacks: 0,
        rounds: 0,
        tried: Tried::default(),
    };
    let mut last = None;
    loop {
        let Some((in_flight, version)) = course.choose().await else {
            let outcome = course.nobody();
            if course.goes_on(outcome.verdict).await {
                continue;
            }
            // What an instance has said tells more than that there is none now.
            return course.end(last.unwrap_or(outcome.answer));
        };
        if let Some(answer) = last.take()
            && !course.may_send(&in_flight.instance)
        {
            course.tried.add("BUDGET");
            return course.end(answer);
        }
        let outcome = course.send(in_flight, &version).await;
        if !course.goes_on(outcome.verdict).await {
            return course.end(outcome.answer);
        }
        last = Some(outcome.answer);
    }
}

struct Course<'a> {
    shared: &'a Shared,
    policy: Policy,
    backoff: Backoff,
    call: Call,
    /// The instances that are not asked again for now, and why.
    passed_over: Vec<(Arc<Instance>, Cause)>,
    /// What counts against the policy: attempts, and times that there was nobody to ask.
    steps: u32,
    last_asked: Option<Arc<Instance>>,
    sent: u32,
    fallbacks: u32,
    /// Times that all were tried.
    rounds: u32,
    tried: Tried,
}

impl Course<'_> {
    /// The instance to ask next. Before the first one is known, it is waited for, as long as for an answer.
    async fn choose(&self) -> Option<(InFlight, Version)> {
        if let Some(chosen) = self.begin() {
            return Some(chosen);
        }
        if self.shared.instances.is_settled() {
            return None;
        }
        let wait = self.call.attempt_timeout.min(self.call.left().unwrap_or(Duration::MAX));
        let holds = || self.shared.instances.is_settled() || self.pick().is_some();
        self.shared.instances.wait_for(wait, holds).await;
        self.begin()
    }

    /// Picks an instance and begins the call there, at once: of the calls that want to probe it, one may.
    fn begin(&self) -> Option<(InFlight, Version)> {
        loop {
            let (instance, version) = self.pick()?;
            // What cannot be begun any more is not picked again.
            if let Some(in_flight) = instance.begin() {
                return Some((in_flight, version));
            }
        }
    }

    fn pick(&self) -> Option<(Arc<Instance>, Version)> {
        let known = self.shared.instances.known()?;
        let now = self.shared.environment.clock.monotonic();
        if let [only] = &*known
            && self.passed_over.is_empty()
        {
            let (version, ..) = only.available(now)?;
            return self.shared.requirement.is_met_by(&version).then(|| (only.clone(), version));
        }
        let available: Vec<_> = known
            .iter()
            .filter(|instance| !self.passed_over.iter().any(|(passed, _)| Arc::ptr_eq(passed, instance)))
            .filter_map(|instance| instance.available(now).map(|found| (instance, found)))
            .collect();
        let candidates: Vec<_> = available
            .iter()
            .map(|(_, (version, load, wants_probe))| Candidate {
                version,
                load: *load,
                wants_probe: *wants_probe,
            })
            .collect();
        let random = &self.shared.environment.random;
        let below = |bound: usize| {
            let bound = u64::try_from(bound).unwrap_or(u64::MAX);
            usize::try_from(random.below(bound)).unwrap_or(0)
        };
        // A call that may be attempted only once is no probe while there is another instance.
        let is_first = self.steps == 0 && self.policy.attempts > 1;
        let at = choose(&candidates, &self.shared.requirement, is_first, below)?;
        let (instance, (version, ..)) = available.get(at)?;
        Some(((*instance).clone(), version.clone()))
    }

    /// Whether the budget allows one more attempt.
    fn may_send(&mut self, instance: &Arc<Instance>) -> bool {
        let is_first_fallback = self.fallbacks == 0 && self.rounds == 0;
        self.fallbacks += 1;
        if is_first_fallback && instance.does_well() {
            return true;
        }
        let allowed = self.shared.budget.withdraw();
        if !allowed {
            self.shared.meters.budget_exhausted(&self.call);
        }
        allowed
    }

    async fn send(&mut self, in_flight: InFlight, version: &Version) -> Outcome {
        let instance = in_flight.instance.clone();
        let outcome = self.call.attempt(in_flight, self.sent).await;
        self.sent += 1;
        self.tried.asked(&instance, version, outcome.name);
        let repeats = self
            .last_asked
            .replace(instance.clone())
            .map(|last| if Arc::ptr_eq(&last, &instance) { Repeat::Again } else { Repeat::Elsewhere });
        self.shared.meters.attempt(&self.call, version, outcome.name, repeats);
        if outcome.ejects {
            self.shared.meters.ejection(version);
        }
        if let Some(cause) = outcome.verdict.cause {
            self.passed_over.push((instance, cause));
        }
        outcome
    }

    fn nobody(&mut self) -> Outcome {
        self.shared.instances.want();
        self.tried.add("NO_INSTANCE");
        Outcome::new(Err(self.shared.no_instance()), None, false)
    }

    /// Whether something more may be tried; waits for when it may be.
    async fn goes_on(&mut self, verdict: Verdict) -> bool {
        self.steps += 1;
        let Some(cause) = verdict.cause else { return false };
        if self.steps >= self.policy.attempts || verdict.pushback == Some(Pushback::Never) {
            return false;
        }
        self.tried.note(self.sent, cause.as_str());
        tracing::debug!(target: "mesh::dispatch", peer = &*self.shared.name, path = self.call.parts.uri.path(), cause = cause.as_str(), "trying on");
        // Another instance has not asked for time.
        self.pick().is_some() || self.wait_for_another_round(verdict).await
    }

    async fn wait_for_another_round(&mut self, verdict: Verdict) -> bool {
        let may_be_repeated = |(_, cause): &(_, Cause)| *cause == Cause::Unavailable;
        if !self.passed_over.is_empty() && !self.passed_over.iter().any(may_be_repeated) {
            return false;
        }
        self.rounds += 1;
        let wait = match verdict.pushback {
            Some(Pushback::After(asked)) => asked,
            _ => self.backoff.delay(self.rounds),
        };
        // An attempt that could not begin before the deadline would only hide the reason behind a timeout.
        if self.call.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline.at) {
            return false;
        }
        self.shared.instances.wait_for(wait, || self.pick().is_some()).await;
        self.passed_over.retain(|passed| !may_be_repeated(passed));
        true
    }

    /// The answer of the call, with what was tried for it.
    fn end(self, answer: Answer) -> Answer {
        match answer {
            Ok(mut response) => {
                response.headers_mut().insert(TRIED_HEADER, self.tried.header());
                Ok(response)
            }
            Err(mut status) => {
                status.metadata_mut().insert(TRIED, self.tried.metadata());
                Err(status)
            }
        }
    }
}
