//! What can be set about the service of tickets.

use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use mesh::inbound::InboundConfig;

use super::build::Build;

/// Everything that can be set about the service of tickets. Every option has a flag, an environment variable and a default.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// The build to run, by its version
    #[arg(long, value_name = "VERSION", env = "GAMESHELF_TICKETS_BUILD", default_value = "1.0.1")]
    pub build: Build,

    /// The database, which all instances share
    #[arg(long, value_name = "FILE", env = "GAMESHELF_TICKETS_DATABASE_FILE")]
    #[arg(default_value = "gameshelf-data/tickets/tickets.sqlite")]
    pub database_file: PathBuf,

    /// Time to wait for another instance that writes, or that brings the schema up to date
    #[arg(long, value_name = "MS", env = "GAMESHELF_TICKETS_DATABASE_WAIT_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=600_000))]
    pub database_wait_ms: u64,

    /// Connections to the database that read
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_TICKETS_DATABASE_READERS", default_value_t = 4)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_024))]
    pub database_readers: u32,

    /// Time between two looks for replies that other instances took
    #[arg(long, value_name = "MS", env = "GAMESHELF_TICKETS_POLL_MS", default_value_t = 50)]
    #[arg(value_parser = value_parser!(u64).range(1..=60_000))]
    pub poll_ms: u64,

    /// Replies that are read from the database at once for a subscription
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_TICKETS_PAGE_REPLIES", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub page_replies: u32,

    /// Subscriptions that may be open; one more is refused with UNAVAILABLE
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_TICKETS_MAX_SUBSCRIPTIONS", default_value_t = 256)]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000))]
    pub max_subscriptions: u32,

    /// Time that a subscriber may leave a reply untaken before it is cut off; it can go on after its last position
    #[arg(long, value_name = "MS", env = "GAMESHELF_TICKETS_SLOW_SUBSCRIBER_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=600_000))]
    pub slow_subscriber_ms: u64,

    /// Replies that a query is answered with, the newest ones
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_TICKETS_REPLIES_PER_QUERY", default_value_t = 10)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000))]
    pub replies_per_query: u32,

    /// Longest title, author or text
    #[arg(long, value_name = "BYTES", env = "GAMESHELF_TICKETS_TEXT_MAX_BYTES", default_value_t = 2_048)]
    #[arg(value_parser = value_parser!(u32).range(1..=65_536))]
    pub text_max_bytes: u32,

    /// How the service serves.
    #[command(flatten)]
    pub inbound: InboundConfig,
}

impl Config {
    pub(super) fn database_wait(&self) -> Duration {
        Duration::from_millis(self.database_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn bad_values_are_refused() {
        let read = |flag| Arguments::try_parse_from(["test", flag]).map(|arguments| arguments.config);
        assert_eq!(read("--build=2.0.0").unwrap().build, Build::Reversed);
        for flag in ["--build=1.0.2", "--poll-ms=0", "--page-replies=0", "--inbound-fault-percent=101"] {
            assert!(read(flag).is_err(), "{flag}");
        }
    }
}
