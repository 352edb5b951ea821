//! What can be set about serving.

use std::time::Duration;

use clap::value_parser;

use crate::version::Version;

/// The longest time that can be configured: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The limits of a service, and how it ends.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Serving")]
pub struct InboundConfig {
    /// Version that the service says it is, where it is not that of its build: to try versions side by side
    #[arg(id = "service_version", long = "service-version", value_name = "VERSION")]
    #[arg(env = "GAMESHELF_SERVICE_VERSION")]
    pub service_version: Option<Version>,

    /// Requests that may be worked on at once; one more waits, or is refused with UNAVAILABLE
    #[arg(id = "inbound_max_in_flight", long = "inbound-max-in-flight", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_INBOUND_MAX_IN_FLIGHT", default_value_t = 2_048)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// Requests that may wait to be worked on; one more is refused at once with UNAVAILABLE
    #[arg(id = "inbound_max_queued", long = "inbound-max-queued", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_INBOUND_MAX_QUEUED", default_value_t = 256)]
    #[arg(value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub max_queued: u32,

    /// Time that a request may wait to be worked on; then it is refused with UNAVAILABLE
    #[arg(id = "inbound_max_queue_ms", long = "inbound-max-queue-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_MAX_QUEUE_MS", default_value_t = 50)]
    #[arg(value_parser = value_parser!(u64).range(0..=DAY_MS))]
    pub max_queue_ms: u64,

    /// Age at which a connection is ended: its caller makes a new one, perhaps to another instance
    #[arg(id = "inbound_connection_age_ms", long = "inbound-connection-age-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_CONNECTION_AGE_MS", default_value_t = 60 * 60 * 1000)]
    #[arg(value_parser = value_parser!(u64).range(1..=30 * DAY_MS))]
    pub connection_age_ms: u64,

    /// Time that what is still open on a connection of that age is given to end by itself
    #[arg(id = "inbound_connection_grace_ms", long = "inbound-connection-grace-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_CONNECTION_GRACE_MS", default_value_t = 60_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=30 * DAY_MS))]
    pub connection_grace_ms: u64,

    /// Largest message that is received
    #[arg(id = "inbound_max_message_bytes", long = "inbound-max-message-bytes", value_name = "BYTES")]
    #[arg(env = "GAMESHELF_INBOUND_MAX_MESSAGE_BYTES", default_value_t = 4 * 1024 * 1024)]
    #[arg(value_parser = value_parser!(u32).range(1024..=256 * 1024 * 1024))]
    pub max_message_bytes: u32,

    /// Time for the answer to a request that came without a deadline to begin
    #[arg(id = "inbound_default_deadline_ms", long = "inbound-default-deadline-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_DEFAULT_DEADLINE_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub default_deadline_ms: u64,

    /// Time for the answer to any request to begin, however long its caller would wait
    #[arg(id = "inbound_max_deadline_ms", long = "inbound-max-deadline-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_MAX_DEADLINE_MS", default_value_t = 60_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub max_deadline_ms: u64,

    /// Time that requests in flight are given to end when the service stops
    #[arg(id = "inbound_drain_timeout_ms", long = "inbound-drain-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_DRAIN_TIMEOUT_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=DAY_MS))]
    pub drain_timeout_ms: u64,

    /// Time between two pings on a connection, also on an idle one
    #[arg(id = "inbound_keepalive_interval_ms", long = "inbound-keepalive-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_KEEPALIVE_INTERVAL_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub keepalive_interval_ms: u64,

    /// Time for a ping's answer, after which the connection is closed
    #[arg(id = "inbound_keepalive_timeout_ms", long = "inbound-keepalive-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_INBOUND_KEEPALIVE_TIMEOUT_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub keepalive_timeout_ms: u64,

    /// Requests and streams that one connection may have open; a caller waits for more
    #[arg(id = "inbound_max_streams_per_connection", long = "inbound-max-streams-per-connection")]
    #[arg(
        env = "GAMESHELF_INBOUND_MAX_STREAMS_PER_CONNECTION",
        default_value_t = 1_024,
        value_name = "COUNT"
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub max_streams_per_connection: u32,

    /// For trying things out only: the share of the requests, in percent, that are refused with UNAVAILABLE before anything is done
    #[arg(id = "inbound_fault_percent", long = "inbound-fault-percent", value_name = "PERCENT")]
    #[arg(env = "GAMESHELF_INBOUND_FAULT_PERCENT", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=100))]
    pub fault_percent: u32,

    /// The methods of which that share is refused, as Method or package.Service/Method [default: all]
    #[arg(id = "inbound_fault_methods", long = "inbound-fault-methods", value_name = "NAMES")]
    #[arg(env = "GAMESHELF_INBOUND_FAULT_METHODS", value_delimiter = ',')]
    pub fault_methods: Vec<String>,
}

impl InboundConfig {
    /// The largest message; each service applies it to itself:
    /// `EchoServiceServer::new(..).max_decoding_message_size(config.max_message_bytes())`.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX)
    }

    /// Time that requests in flight are given to end.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    pub(super) fn connection_age(&self) -> Duration {
        Duration::from_millis(self.connection_age_ms)
    }

    pub(super) fn connection_grace(&self) -> Duration {
        Duration::from_millis(self.connection_grace_ms)
    }
}

impl Default for InboundConfig {
    fn default() -> Self {
        Self {
            service_version: None,
            max_in_flight: 2_048,
            max_queued: 256,
            max_queue_ms: 50,
            connection_age_ms: 60 * 60 * 1000,
            connection_grace_ms: 60_000,
            max_message_bytes: 4 * 1024 * 1024,
            default_deadline_ms: 10_000,
            max_deadline_ms: 60_000,
            drain_timeout_ms: 10_000,
            keepalive_interval_ms: 10_000,
            keepalive_timeout_ms: 5_000,
            max_streams_per_connection: 1_024,
            fault_percent: 0,
            fault_methods: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::outbound::OutboundConfig;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        inbound: InboundConfig,
        #[command(flatten)]
        _outbound: OutboundConfig,
    }

    #[test]
    fn the_defaults_of_the_command_line_are_the_defaults() {
        let arguments = Arguments::parse_from(["test"]);
        assert_eq!(format!("{:?}", arguments.inbound), format!("{:?}", InboundConfig::default()));
    }

    #[test]
    fn a_bad_value_is_refused() {
        for flag in [
            "--inbound-max-in-flight=0",
            "--inbound-max-message-bytes=1",
            "--inbound-drain-timeout-ms=-1",
            "--inbound-fault-percent=101",
            "--service-version=1.0",
        ] {
            assert!(Arguments::try_parse_from(["test", flag]).is_err(), "{flag}");
        }
    }
}
