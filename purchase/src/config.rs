//! What can be set about the service.

use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use database::{DatabaseConfig, Url};
use mesh::inbound::InboundConfig;
use mesh::outbound::DispatchConfig;
use mesh::outbound::discovery::Source;
use mesh::outbound::dispatch::Policy;
use mesh::version::Requirement;

/// The longest time that can be configured: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How the service runs.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Purchase")]
pub struct Config {
    /// Where the orders are kept: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL", env = "GAMESHELF_PURCHASE_DATABASE_URL", hide_env_values = true)]
    #[arg(default_value = "sqlite:gameshelf-data/purchase/orders.sqlite")]
    pub database_url: Url,

    /// Time for one statement of the database
    #[arg(long, value_name = "MS", env = "GAMESHELF_PURCHASE_STATEMENT_TIMEOUT_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub statement_timeout_ms: u64,

    /// The catalogue of games, a CSV file
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

    /// Where the payment provider's instances are: HOST:PORT,HOST:PORT, file:PATH or dns:HOST:PORT
    #[arg(long, value_name = "SOURCE", env = "GAMESHELF_PAYMENT_ADDRESS")]
    #[arg(default_value = "http://127.0.0.1:7403")]
    pub payment_address: Source,

    /// Versions of the payment provider that are called
    #[arg(long, value_name = "RANGE", env = "GAMESHELF_PAYMENT_REQUIRES")]
    #[arg(default_value = concat!("^", env!("CARGO_PKG_VERSION")))]
    pub payment_requires: Requirement,

    /// Time that a buyer waits for the order's end; then the order is answered as pending
    #[arg(long, value_name = "MS", env = "GAMESHELF_PURCHASE_BUY_WAIT_MS", default_value_t = 2_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=600_000))]
    pub buy_wait_ms: u64,

    /// Orders that are not at their end; with more of them, buying is refused with UNAVAILABLE
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_PURCHASE_MAX_BACKLOG", default_value_t = 100_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub max_backlog: u32,

    /// Orders that are worked on at once
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_PURCHASE_WORKER_CONCURRENCY", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub worker_concurrency: u32,

    /// Pause before a step that failed is repeated for the first time; it doubles with each failure
    #[arg(long, value_name = "MS", env = "GAMESHELF_PURCHASE_RETRY_BASE_MS", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub retry_base_ms: u64,

    /// Longest pause before a step that failed is repeated
    #[arg(long, value_name = "MS", env = "GAMESHELF_PURCHASE_RETRY_MAX_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub retry_max_ms: u64,

    /// Pause between two searches of the database for orders that nobody works on
    #[arg(long, value_name = "MS", env = "GAMESHELF_PURCHASE_SCAN_INTERVAL_MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub scan_interval_ms: u64,

    // Last, since each begins a heading of its own in the help.
    /// How the database is opened.
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// How other services are called.
    #[command(flatten)]
    pub dispatch: DispatchConfig,

    /// How requests are served.
    #[command(flatten)]
    pub inbound: InboundConfig,
}

impl Config {
    pub(crate) fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// How the steps of orders are called. They are all writes under stored ids, so that they may be repeated; and a write may
    /// take its time: one that is under way has to be waited for, whoever else is there.
    pub(crate) fn step_policy(&self) -> Policy {
        let attempt_timeout_ms = self.dispatch.outbound.attempt_timeout_ms;
        Policy { attempt_timeout_ms, ..self.dispatch.policy() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mesh::version::of_package;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_defaults_just_work_and_the_catalogue_is_required() {
        let config = Arguments::parse_from(["purchase", "--catalog", "catalog.csv"]).config;
        assert_eq!(config.database_url.to_string(), "sqlite:gameshelf-data/purchase/orders.sqlite");
        assert_eq!(config.arbiter_address.to_string(), "127.0.0.1:7400");
        assert_eq!(config.payment_address.to_string(), "127.0.0.1:7403");
        // All services of a release are of one version.
        let version = of_package(env!("CARGO_PKG_VERSION"));
        assert!(config.arbiter_requires.is_met_by(&version) && config.payment_requires.is_met_by(&version));
        assert!(config.retry_base_ms <= config.retry_max_ms);
        if std::env::var_os("GAMESHELF_CATALOG").is_none() {
            assert!(Arguments::try_parse_from(["purchase"]).is_err());
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for flag in [
            "--database-url=mysql://host",
            "--database-readers=0",
            "--arbiter-address=",
            "--arbiter-requires=*",
            "--payment-requires=>=1",
            "--max-backlog=0",
            "--worker-concurrency=0",
            "--retry-base-ms=0",
            "--buy-wait-ms=-1",
        ] {
            assert!(Arguments::try_parse_from(["purchase", "--catalog=c", flag]).is_err(), "{flag}");
        }
    }
}
