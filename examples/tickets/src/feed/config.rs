//! What can be set about the feed.

use std::time::Duration;

use clap::value_parser;
use mesh::inbound::InboundConfig;
use mesh::outbound::DispatchConfig;
use mesh::outbound::discovery::Source;
use mesh::version::Requirement;

/// Everything that can be set about the feed of replies. Every option has a flag, an environment variable and a default.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Where the instances of the service of tickets are: addresses, a file of them, or a name that stands for all of them
    #[arg(
        long,
        value_name = "SOURCE",
        env = "GAMESHELF_TICKETS_FEED_SOURCE",
        default_value = "127.0.0.1:7420"
    )]
    pub tickets_source: Source,

    /// The versions of it that will do
    #[arg(long, value_name = "RANGE", env = "GAMESHELF_TICKETS_FEED_RANGE", default_value = "^1.0")]
    pub tickets_range: Requirement,

    /// Replies that are kept, the newest ones
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_TICKETS_FEED_REPLIES", default_value_t = 10)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000))]
    pub replies: u32,

    /// Events that a follower may be behind before it is cut off
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_TICKETS_FEED_FOLLOWER_EVENTS",
        default_value_t = 1_024
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub follower_events: u32,

    /// Followers there may be; one more is refused with UNAVAILABLE
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_TICKETS_FEED_MAX_FOLLOWERS", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000))]
    pub max_followers: u32,

    /// Longest wait before a subscription that ended is begun again
    #[arg(long, value_name = "MS", env = "GAMESHELF_TICKETS_FEED_RESUME_MAX_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=600_000))]
    pub resume_max_ms: u64,

    /// How the feed serves.
    #[command(flatten)]
    pub inbound: InboundConfig,

    /// How the feed reaches the service of tickets.
    #[command(flatten)]
    pub dispatch: DispatchConfig,
}

impl Config {
    pub(super) fn resume_max(&self) -> Duration {
        Duration::from_millis(self.resume_max_ms)
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
        assert_eq!(read("--replies=7").unwrap().replies, 7);
        for flag in ["--replies=0", "--tickets-range=>=1.0", "--tickets-source=nowhere", "--resume-max-ms=0"]
        {
            assert!(read(flag).is_err(), "{flag}");
        }
    }
}
