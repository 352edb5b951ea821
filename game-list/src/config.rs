//! What can be set about game-list.

mod following;
mod watching;

use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use database::DatabaseConfig;
use mesh::inbound::InboundConfig;
use mesh::outbound::DispatchConfig;
use mesh::outbound::discovery::Source;
use mesh::outbound::dispatch::Policy;
use mesh::version::Requirement;

use crate::grpc::PageSizes;
use crate::watch::WatchLimits;
pub(crate) use following::FollowingConfig;
pub(crate) use watching::WatchingConfig;

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

    /// Where the arbiter's instances are: HOST:PORT,HOST:PORT, file:PATH or dns:HOST:PORT
    #[arg(long, value_name = "SOURCE", env = "GAMESHELF_ARBITER_ADDRESS")]
    #[arg(default_value = "http://127.0.0.1:7400")]
    pub arbiter_address: Source,

    /// Versions of the arbiter that are called
    #[arg(long, value_name = "RANGE", env = "GAMESHELF_ARBITER_REQUIRES")]
    #[arg(default_value = concat!("^", env!("CARGO_PKG_VERSION")))]
    pub arbiter_requires: Requirement,

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

    /// Time that an answer waits for the copy to reach the token that the caller asks for; then the arbiter is asked
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_FRESHNESS_WAIT_MS", default_value_t = 200)]
    #[arg(value_parser = value_parser!(u64).range(0..=HOUR_MS))]
    pub freshness_wait_ms: u64,

    /// How the copy is kept.
    #[command(flatten)]
    pub following: FollowingConfig,

    /// How streams of games are served.
    #[command(flatten)]
    pub watching: WatchingConfig,

    /// How the service serves.
    #[command(flatten)]
    pub inbound: InboundConfig,

    /// How the service calls the arbiter.
    #[command(flatten)]
    pub dispatch: DispatchConfig,
}

impl Config {
    pub(crate) fn page_sizes(&self) -> PageSizes {
        PageSizes { default: self.page_size_default.min(self.page_size_max), max: self.page_size_max }
    }

    pub(crate) fn copy(&self) -> copy::Options {
        self.following.options(self.dispatch.outbound.max_message_bytes())
    }

    /// How changes are polled for: the arbiter keeps a poll until there is something to tell.
    pub(crate) fn poll_policy(&self) -> Policy {
        let attempt_timeout_ms = self.dispatch.outbound.attempt_timeout_ms;
        Policy { attempt_timeout_ms, ..self.dispatch.policy() }
    }

    pub(crate) fn watch_limits(&self) -> WatchLimits {
        let watching = &self.watching;
        WatchLimits {
            queue: watching.queue,
            games: watching.games,
            games_per_message: self.page_size_max as usize,
            slow_reader: watching.slow_reader(),
            unchanged: watching.unchanged(),
        }
    }

    pub(crate) fn arbiter_timeout(&self) -> Duration {
        Duration::from_millis(self.arbiter_timeout_ms)
    }

    pub(crate) fn freshness_wait(&self) -> Duration {
        Duration::from_millis(self.freshness_wait_ms)
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
        // All services of a release are of one version.
        let version = mesh::version::of_package(env!("CARGO_PKG_VERSION"));
        assert!(read("--copy-name=a").unwrap().arbiter_requires.is_met_by(&version));
        assert_eq!(read("--page-size-max=7").unwrap().page_sizes().default, 7);
        for flag in [
            "--probe-interval-ms=0",
            "--copy=postgres://h/d",
            "--arbiter-address=x",
            "--arbiter-requires=*",
            "--page-size-max=0",
            "--copy-name=A",
            "--follow=x",
            "--copy-check=x",
            "--watch-streams=0",
        ] {
            assert!(read(flag).is_err(), "{flag}");
        }
    }
}
