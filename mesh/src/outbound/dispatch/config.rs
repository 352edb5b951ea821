//! What can be set about calling a service that has several instances.

use std::time::Duration;

use clap::value_parser;

use super::breaker::BreakerConfig;
use crate::outbound::OutboundConfig;
use crate::outbound::discovery::DiscoveryConfig;

/// The longest time that can be configured: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How a service calls those of its peers that have several instances. It holds the settings of all calls too.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Calls to services with several instances")]
pub struct DispatchConfig {
    /// Time for one attempt of a call, after which another instance is tried
    #[arg(id = "dispatch_attempt_timeout_ms", long = "dispatch-attempt-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_ATTEMPT_TIMEOUT_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub attempt_timeout_ms: u64,

    /// Share of the calls, in percent, that may be attempted once more: one of a whole number of them, 33 for 30
    #[arg(id = "dispatch_budget_percent", long = "dispatch-budget-percent", value_name = "PERCENT")]
    #[arg(env = "GAMESHELF_DISPATCH_BUDGET_PERCENT", default_value_t = 20)]
    #[arg(value_parser = value_parser!(u32).range(0..=100))]
    pub budget_percent: u32,

    /// Further attempts a second, besides that share
    #[arg(id = "dispatch_budget_per_second", long = "dispatch-budget-per-second", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_DISPATCH_BUDGET_PER_SECOND", default_value_t = 10)]
    #[arg(value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub budget_per_second: u32,

    /// Failures in a row after which an instance gets no calls for a while
    #[arg(id = "dispatch_breaker_failures", long = "dispatch-breaker-failures", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_DISPATCH_BREAKER_FAILURES", default_value_t = 5)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub breaker_failures: u32,

    /// Time without calls for an instance that failed; it doubles each time that one call shows it is not well yet
    #[arg(id = "dispatch_breaker_base_ms", long = "dispatch-breaker-base-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_BREAKER_BASE_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub breaker_base_ms: u64,

    /// Longest time without calls for an instance that failed
    #[arg(id = "dispatch_breaker_max_ms", long = "dispatch-breaker-max-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_BREAKER_MAX_MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub breaker_max_ms: u64,

    /// Latency that an instance counts with before it has answered
    #[arg(id = "dispatch_initial_latency_ms", long = "dispatch-initial-latency-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_INITIAL_LATENCY_MS", default_value_t = 30)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub initial_latency_ms: u64,

    /// Time in which a slow answer loses two thirds of its weight
    #[arg(id = "dispatch_latency_decay_ms", long = "dispatch-latency-decay-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_LATENCY_DECAY_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub latency_decay_ms: u64,

    /// Instances of one service that are used; a list of more is not taken over
    #[arg(id = "dispatch_max_instances", long = "dispatch-max-instances", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_DISPATCH_MAX_INSTANCES", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub max_instances: u32,

    /// Time between two looks at an instance that cannot tell by itself how it is
    #[arg(id = "dispatch_health_interval_ms", long = "dispatch-health-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_HEALTH_INTERVAL_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub health_interval_ms: u64,

    /// Upper bound of the random wait before an instance that cannot be reached is asked again how it is
    #[arg(id = "dispatch_health_backoff_max_ms", long = "dispatch-health-backoff-max-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISPATCH_HEALTH_BACKOFF_MAX_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub health_backoff_max_ms: u64,

    /// How lists of instances are kept up to date.
    #[command(flatten)]
    pub discovery: DiscoveryConfig,

    /// The settings of all calls.
    #[command(flatten)]
    pub outbound: OutboundConfig,
}

impl DispatchConfig {
    /// How a method is called that has no policy of its own.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            attempts: self.outbound.attempts,
            attempt_timeout_ms: self.attempt_timeout_ms,
            backoff_base_ms: self.outbound.backoff_base_ms,
            backoff_max_ms: self.outbound.backoff_max_ms,
        }
    }

    pub(super) fn breaker(&self) -> BreakerConfig {
        BreakerConfig {
            failures: self.breaker_failures,
            base: Duration::from_millis(self.breaker_base_ms),
            max: Duration::from_millis(self.breaker_max_ms),
        }
    }
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self {
            attempt_timeout_ms: 1_000,
            budget_percent: 20,
            budget_per_second: 10,
            breaker_failures: 5,
            breaker_base_ms: 1_000,
            breaker_max_ms: 30_000,
            initial_latency_ms: 30,
            latency_decay_ms: 10_000,
            max_instances: 64,
            health_interval_ms: 1_000,
            health_backoff_max_ms: 5_000,
            discovery: DiscoveryConfig::default(),
            outbound: OutboundConfig::default(),
        }
    }
}

/// How often a method is attempted, and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts at one call in all. 1 for a method that must not be repeated: a write without a request id.
    pub attempts: u32,
    /// Time for one attempt.
    pub attempt_timeout_ms: u64,
    /// Upper bound of the random wait before the same instance is asked again; it doubles with each further one.
    pub backoff_base_ms: u64,
    /// Upper bound of any such wait.
    pub backoff_max_ms: u64,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::inbound::InboundConfig;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        dispatch: DispatchConfig,
        #[command(flatten)]
        _inbound: InboundConfig,
    }

    #[test]
    fn the_defaults_of_the_command_line_are_the_defaults() {
        let arguments = Arguments::parse_from(["test"]);
        assert_eq!(format!("{:?}", arguments.dispatch), format!("{:?}", DispatchConfig::default()));
    }

    #[test]
    fn a_bad_value_is_refused() {
        for flag in
            ["--dispatch-budget-percent=101", "--dispatch-breaker-failures=0", "--outbound-attempts=0"]
        {
            assert!(Arguments::try_parse_from(["test", flag]).is_err(), "{flag}");
        }
    }
}
