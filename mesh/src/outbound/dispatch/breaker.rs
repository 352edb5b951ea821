//! The breaker of one instance. It is made for few replicas: it counts failures in a row rather than rates, for which
//! few replicas give too few calls, and lets one call through as the probe rather than a share of them.

use std::time::{Duration, Instant};

/// When an instance is ejected, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct BreakerConfig {
    /// Failures in a row that eject.
    pub(super) failures: u32,
    /// The first ejection; each further one is twice as long.
    pub(super) base: Duration,
    /// The longest ejection.
    pub(super) max: Duration,
}

/// Whether a call may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Nothing speaks against it.
    Closed,
    /// One call may be, to find out.
    Probe,
    /// None may be.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32, since: Option<Instant> },
    Open { until: Instant },
    Probing,
}

/// The state of one instance's breaker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// Ejections in a row, which make the next one longer.
    ejections: u32,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed { failures: 0, since: None }, ejections: 0 }
    }

    /// Whether a call may be sent now.
    pub(super) fn permission(&self, now: Instant) -> Permission {
        match self.state {
            State::Closed { .. } => Permission::Closed,
            State::Open { until } if now >= until => Permission::Probe,
            State::Open { .. } | State::Probing => Permission::Open,
        }
    }

    /// A call is sent; whether it is the probe, whose end must be told by [`Self::succeeded`], [`Self::failed`] or
    /// [`Self::abandoned`].
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let probes = self.permission(now) == Permission::Probe;
        if probes {
            self.state = State::Probing;
        }
        probes
    }

    /// A call succeeded; whether it closed the breaker. One that was sent before the ejection closes nothing.
    pub(super) fn succeeded(&mut self, probe: bool, now: Instant) -> bool {
        match self.state {
            State::Closed { since, .. } => {
                self.state = State::Closed { failures: 0, since };
                false
            }
            State::Probing if probe => {
                self.state = State::Closed { failures: 0, since: Some(now) };
                true
            }
            State::Open { .. } | State::Probing => false,
        }
    }

    /// A call failed; whether it ejected the instance. `jitter` from 0 to 1 makes the ejection up to a tenth longer, so
    /// that callers that ejected it together do not probe it together.
    pub(super) fn failed(&mut self, probe: bool, jitter: f64, now: Instant) -> bool {
        match self.state {
            State::Closed { failures, since } if failures + 1 < self.config.failures => {
                self.state = State::Closed { failures: failures + 1, since };
                false
            }
            State::Closed { since, .. } => {
                // What was well for longer than any ejection lasts begins anew.
                let well = since.map(|since| now.saturating_duration_since(since));
                if well.is_none_or(|well| well > self.config.max) {
                    self.ejections = 0;
                }
                self.eject(jitter, now)
            }
            State::Probing if probe => self.eject(jitter, now),
            State::Open { .. } | State::Probing => false,
        }
    }

    /// The instance was found again after its connection was lost, as after a restart: what it failed at before says
    /// little, and the next call may find out.
    pub(super) fn found_again(&mut self, now: Instant) {
        if let State::Open { until } = self.state {
            self.state = State::Open { until: until.min(now) };
            self.ejections = 0;
        }
    }

    /// A call was given up before it told anything: another one may be the probe.
    pub(super) fn abandoned(&mut self, probe: bool, now: Instant) {
        if probe && self.state == State::Probing {
            self.state = State::Open { until: now };
        }
    }

    fn eject(&mut self, jitter: f64, now: Instant) -> bool {
        let factor = 1u32.checked_shl(self.ejections).unwrap_or(u32::MAX);
        let time = self.config.base.saturating_mul(factor).min(self.config.max);
        self.state = State::Open { until: now + time.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 10.0) };
        self.ejections = self.ejections.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::environment::{Clock, SystemClock};

    const CONFIG: BreakerConfig =
        BreakerConfig { failures: 3, base: Duration::from_secs(1), max: Duration::from_secs(8) };
    const SECOND: Duration = Duration::from_secs(1);

    fn almost(seconds: u32) -> Duration {
        seconds * SECOND.mul_f64(0.99)
    }

    fn ejected(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        assert_eq!([1, 2, 3].map(|_| breaker.failed(false, 0.0, now)), [false, false, true]);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_eject() {
        let now = SystemClock.monotonic();
        let mut breaker = Breaker::new(CONFIG);
        for _ in 0..10 {
            breaker.failed(false, 0.0, now);
            breaker.failed(false, 0.0, now);
            breaker.succeeded(false, now);
        }
        assert_eq!(breaker.permission(now), Permission::Closed);
        assert_eq!(ejected(now).permission(now), Permission::Open);
    }

    #[test]
    fn one_probe_is_let_through_and_each_failed_one_makes_the_ejection_longer() {
        let now = SystemClock.monotonic();
        let mut breaker = ejected(now);
        let mut at = now;
        for seconds in [1, 2, 4, 8, 8, 8] {
            assert_eq!(breaker.permission(at + almost(seconds)), Permission::Open);
            at += seconds * SECOND;
            assert_eq!(breaker.permission(at), Permission::Probe);
            assert!(breaker.begin(at));
            assert_eq!(breaker.permission(at), Permission::Open);
            assert!(!breaker.begin(at));
            assert!(breaker.failed(true, 0.0, at));
        }
        at += 8 * SECOND;
        assert!(breaker.begin(at));
        // What was sent before the ejection ends now; it is not the probe.
        assert!(!breaker.succeeded(false, at));
        assert!(!breaker.failed(false, 0.0, at));
        assert!(breaker.succeeded(true, at));
        assert_eq!(breaker.permission(at), Permission::Closed);
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_place_to_another() {
        let began = SystemClock.monotonic();
        let (mut breaker, now) = (ejected(began), began + SECOND);
        assert!(breaker.begin(now));
        breaker.abandoned(true, now);
        assert!(breaker.begin(now));
    }

    #[test]
    fn an_instance_that_is_found_again_is_probed_at_once() {
        let began = SystemClock.monotonic();
        let (mut breaker, now) = (ejected(began), began + SECOND / 10);
        assert_eq!(breaker.permission(now), Permission::Open);
        breaker.found_again(now);
        assert!(breaker.begin(now));
        // It is not let off the probe, nor while one is out.
        breaker.found_again(now);
        assert_eq!(breaker.permission(now), Permission::Open);
        assert!(breaker.failed(true, 0.0, now));
        assert_eq!(breaker.permission(now + SECOND), Permission::Probe);
    }

    #[test]
    fn an_instance_that_fails_again_soon_is_ejected_for_longer_and_one_that_was_well_is_not() {
        for (well, expected) in [(SECOND, 2), (9 * SECOND, 1)] {
            let began = SystemClock.monotonic();
            let (mut breaker, now) = (ejected(began), began + SECOND);
            breaker.begin(now);
            breaker.succeeded(true, now);
            let at = now + well;
            assert_eq!([1, 2, 3].map(|_| breaker.failed(false, 0.0, at)), [false, false, true]);
            assert_eq!(breaker.permission(at + almost(expected)), Permission::Open);
            assert_eq!(breaker.permission(at + expected * SECOND), Permission::Probe);
        }
    }

    proptest! {
        #[test]
        fn while_every_call_fails_no_more_than_the_probes_are_sent(
            steps_ms in proptest::collection::vec(1u64..500, 1..400), jitter in 0.0f64..1.0,
        ) {
            let mut now = SystemClock.monotonic();
            let began = now;
            let mut breaker = Breaker::new(CONFIG);
            let mut sent = 0u32;
            for step in steps_ms {
                now += Duration::from_millis(step);
                if breaker.permission(now) != Permission::Open {
                    sent += 1;
                    let probe = breaker.begin(now);
                    breaker.failed(probe, jitter, now);
                }
            }
            // Three that eject, the probes of the ejections that grow (1, 2, 4 s), and then one in 8 s.
            let probes = 3 + (now - began).as_secs() / 8;
            prop_assert!(u64::from(sent) <= 3 + 1 + probes, "{} sent", sent);
        }

        #[test]
        fn at_most_one_probe_is_out(
            steps in proptest::collection::vec((0u8..4, 0u64..4_000), 1..200),
        ) {
            let mut now = SystemClock.monotonic();
            let mut breaker = Breaker::new(CONFIG);
            let mut out = false;
            for (what, passed_ms) in steps {
                now += Duration::from_millis(passed_ms);
                match what {
                    0 => { let probes = breaker.begin(now); prop_assert!(!(probes && out)); out |= probes; }
                    1 => { breaker.succeeded(out, now); out = false; }
                    2 => { breaker.failed(out, 0.5, now); out = false; }
                    _ => { breaker.abandoned(out, now); out = false; }
                }
            }
        }
    }
}
