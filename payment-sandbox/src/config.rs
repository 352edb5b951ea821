//! What can be set about the payment sandbox.

use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use database::DatabaseConfig;
use mesh::inbound::InboundConfig;

/// Everything that can be set about the payment sandbox. Every option has a flag, an environment variable and a default.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Where the books are kept: sqlite:PATH
    #[arg(long = "database-url", visible_alias = "data", value_name = "URL")]
    #[arg(env = "GAMESHELF_PAYMENT_SANDBOX_DATABASE_URL", value_parser = database::sqlite_file)]
    #[arg(default_value = "sqlite:gameshelf-data/payment-sandbox/books.sqlite")]
    pub database_file: PathBuf,

    /// How the database is opened.
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// How late a payment whose token begins with `slow` is answered
    #[arg(long, value_name = "MS", env = "GAMESHELF_PAYMENT_SANDBOX_SLOW_MS", default_value_t = 3_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=600_000))]
    pub slow_ms: u64,

    /// Calls that may wait to be written; one more is refused at once with UNAVAILABLE
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_PAYMENT_SANDBOX_QUEUE_CALLS",
        default_value_t = 1_024
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub queue_calls: u32,

    /// Calls that share one transaction
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_PAYMENT_SANDBOX_BATCH_CALLS", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub batch_calls: u32,

    /// How the service serves.
    #[command(flatten)]
    pub inbound: InboundConfig,
}

impl Config {
    pub(crate) fn slow(&self) -> Duration {
        Duration::from_millis(self.slow_ms)
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
        assert_eq!(read("--slow-ms=7").unwrap().slow(), Duration::from_millis(7));
        assert_eq!(read("--data=sqlite:a/b").unwrap().database_file, PathBuf::from("a/b"));
        for flag in
            ["--slow-ms=-1", "--database-url=postgres://host/db", "--database-url=a", "--queue-calls=0"]
        {
            assert!(read(flag).is_err(), "{flag}");
        }
    }
}
