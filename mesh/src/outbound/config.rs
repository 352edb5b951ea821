//! What can be set about calling others.

use std::time::Duration;

use clap::value_parser;

/// The longest time that can be configured: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How a service calls its peers; shared by all its clients.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Calls to other services")]
pub struct OutboundConfig {
    /// Time for one call in all, its retries included. A caller's shorter deadline goes first
    #[arg(id = "outbound_timeout_ms", long = "outbound-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_TIMEOUT_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub timeout_ms: u64,

    /// Time for one attempt of a call, and for a stream to open
    #[arg(id = "outbound_attempt_timeout_ms", long = "outbound-attempt-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_ATTEMPT_TIMEOUT_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub attempt_timeout_ms: u64,

    /// Attempts at one call in all; 1 means no retry
    #[arg(id = "outbound_attempts", long = "outbound-attempts", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_OUTBOUND_ATTEMPTS", default_value_t = 3)]
    #[arg(value_parser = value_parser!(u32).range(1..=20))]
    pub attempts: u32,

    /// Upper bound of the random wait before the second attempt; it doubles with each further one
    #[arg(id = "outbound_backoff_base_ms", long = "outbound-backoff-base-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_BACKOFF_BASE_MS", default_value_t = 50)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub backoff_base_ms: u64,

    /// Upper bound of the random wait before any attempt
    #[arg(id = "outbound_backoff_max_ms", long = "outbound-backoff-max-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_BACKOFF_MAX_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub backoff_max_ms: u64,

    /// Time for a connection to be made
    #[arg(id = "outbound_connect_timeout_ms", long = "outbound-connect-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_CONNECT_TIMEOUT_MS", default_value_t = 2_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub connect_timeout_ms: u64,

    /// Time between two pings on a connection, also on an idle one
    #[arg(id = "outbound_keepalive_interval_ms", long = "outbound-keepalive-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_KEEPALIVE_INTERVAL_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub keepalive_interval_ms: u64,

    /// Time for a ping's answer, after which the connection counts as lost
    #[arg(id = "outbound_keepalive_timeout_ms", long = "outbound-keepalive-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_OUTBOUND_KEEPALIVE_TIMEOUT_MS", default_value_t = 3_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub keepalive_timeout_ms: u64,

    /// Largest message that is sent or received
    #[arg(id = "outbound_max_message_bytes", long = "outbound-max-message-bytes", value_name = "BYTES")]
    #[arg(env = "GAMESHELF_OUTBOUND_MAX_MESSAGE_BYTES", default_value_t = 4 * 1024 * 1024)]
    #[arg(value_parser = value_parser!(u32).range(1024..=256 * 1024 * 1024))]
    pub max_message_bytes: u32,
}

impl OutboundConfig {
    /// Time for one call in all.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Time for one attempt.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms)
    }

    /// The largest message. A generated client has a limit of its own, 4 MiB; where this one is larger, raise it:
    /// `Client::new(..).max_decoding_message_size(config.max_message_bytes())`.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX)
    }
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            timeout_ms: 5_000,
            attempt_timeout_ms: 5_000,
            attempts: 3,
            backoff_base_ms: 50,
            backoff_max_ms: 1_000,
            connect_timeout_ms: 2_000,
            keepalive_interval_ms: 5_000,
            keepalive_timeout_ms: 3_000,
            max_message_bytes: 4 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        outbound: OutboundConfig,
    }

    #[test]
    fn the_defaults_of_the_command_line_are_the_defaults() {
        let arguments = Arguments::parse_from(["test"]);
        assert_eq!(format!("{:?}", arguments.outbound), format!("{:?}", OutboundConfig::default()));
    }

    #[test]
    fn a_bad_value_is_refused() {
        for flag in [
            "--outbound-timeout-ms=0",
            "--outbound-attempts=0",
            "--outbound-attempts=21",
            "--outbound-timeout-ms=x",
        ] {
            assert!(Arguments::try_parse_from(["test", flag]).is_err(), "{flag}");
        }
    }
}
