//! What can be set about game-list.

use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use database::DatabaseConfig;
use mesh::inbound::InboundConfig;
use mesh::outbound::{Address, OutboundConfig};

use crate::copy::{FollowerOptions, ProberOptions};
use crate::grpc::PageSizes;

/// The longest time that can be configured: an hour.
const HOUR_MS: u64 = 60 * 60 * 1000;

/// Everything that can be set about game-list. Every option has a flag and an environment variable; all but the
/// catalogue have a default.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Where the local copy is kept: sqlite:PATH. Each instance needs one of its own
    #[arg(long = "database-url", visible_alias = "copy", value_name = "URL")]
    #[arg(env = "GAMESHELF_GAME_LIST_DATABASE_URL", value_parser = database::sqlite_file)]
    #[arg(default_value = "sqlite:gameshelf-data/game-list/copy.sqlite")]
    pub copy_file: PathBuf,

    /// How the database is opened.
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// The catalogue, a CSV file, for the titles
    #[arg(long, value_name = "FILE", env = "GAMESHELF_CATALOG")]
    pub catalog: PathBuf,

    /// The arbiter
    #[arg(long, value_name = "ADDRESS", env = "GAMESHELF_ARBITER_ADDRESS")]
    #[arg(default_value = "http://127.0.0.1:7400")]
    pub arbiter_address: Address,

    /// Games in a page when the caller does not say
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_GAME_LIST_PAGE_SIZE_DEFAULT", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub page_size_default: u32,

    /// Games in a page at most
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_GAME_LIST_PAGE_SIZE_MAX", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub page_size_max: u32,

    /// Games that the arbiter is asked for at once: no more than its own limit of a page
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_GAME_LIST_ARBITER_PAGE_SIZE",
        default_value_t = 1_000
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub arbiter_page_size: u32,

    /// Time for the arbiter to answer where the copy is not fresh enough; then the answer is UNAVAILABLE
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_ARBITER_TIMEOUT_MS", default_value_t = 2_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub arbiter_timeout_ms: u64,

    /// Time between two questions for the arbiter's head revision, by which the copy knows its age
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_PROBE_INTERVAL_MS", default_value_t = 200)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub probe_interval_ms: u64,

    /// Time to wait for the answer to such a question
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_PROBE_TIMEOUT_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub probe_timeout_ms: u64,

    /// Time without such an answer after which answers from the copy are told to be degraded
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_PROBE_OVERDUE_MS", default_value_t = 2_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub probe_overdue_ms: u64,

    /// Time that the stream from the arbiter may be silent before it is opened again; a live one says something every
    /// second
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_STALE_STREAM_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub stale_stream_ms: u64,

    /// Wait before the stream is opened again the first time; it doubles with each further failure
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_BACKOFF_BASE_MS", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub backoff_base_ms: u64,

    /// Longest wait before the stream is opened again
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_BACKOFF_MAX_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub backoff_max_ms: u64,

    /// Messages of the stream that may wait to be applied; more are held back
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_GAME_LIST_APPLY_QUEUE_MESSAGES",
        default_value_t = 16
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=1024))]
    pub apply_queue_messages: u32,

    /// Rows that share one transaction of the copy, about
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_GAME_LIST_APPLY_BATCH_ROWS",
        default_value_t = 10_000
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub apply_batch_rows: u32,

    /// How the service serves.
    #[command(flatten)]
    pub inbound: InboundConfig,

    /// How the service calls the arbiter.
    #[command(flatten)]
    pub outbound: OutboundConfig,
}

impl Config {
    pub(crate) fn page_sizes(&self) -> PageSizes {
        PageSizes { default: self.page_size_default.min(self.page_size_max), max: self.page_size_max }
    }

    pub(crate) fn follower(&self) -> FollowerOptions {
        FollowerOptions {
            silence_max: Duration::from_millis(self.stale_stream_ms),
            backoff_base: Duration::from_millis(self.backoff_base_ms),
            backoff_max: Duration::from_millis(self.backoff_max_ms),
            queue_max: self.apply_queue_messages as usize,
            batch_max_rows: self.apply_batch_rows as usize,
        }
    }

    pub(crate) fn prober(&self) -> ProberOptions {
        ProberOptions {
            interval: Duration::from_millis(self.probe_interval_ms),
            timeout: Duration::from_millis(self.probe_timeout_ms),
        }
    }

    pub(crate) fn arbiter_timeout(&self) -> Duration {
        Duration::from_millis(self.arbiter_timeout_ms)
    }

    pub(crate) fn probe_overdue(&self) -> Duration {
        Duration::from_millis(self.probe_overdue_ms)
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
        let read = |flag| {
            Arguments::try_parse_from(["test", "--catalog=c.csv", flag]).map(|arguments| arguments.config)
        };
        assert_eq!(read("--copy=sqlite:a/b").unwrap().copy_file, PathBuf::from("a/b"));
        assert_eq!(read("--page-size-max=7").unwrap().page_sizes().default, 7);
        for flag in
            ["--probe-interval-ms=0", "--copy=postgres://h/d", "--arbiter-address=x", "--page-size-max=0"]
        {
            assert!(read(flag).is_err(), "{flag}");
        }
    }
}
