//! What can be set about streams of customers' games.

use std::time::Duration;

use clap::value_parser;

use super::HOUR_MS;

/// How streams of customers' games are served.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Streams of games")]
pub struct WatchingConfig {
    /// Streams of customers' games that may be open; one more is refused
    #[arg(id = "watch_streams", long = "watch-streams", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_GAME_LIST_WATCH_STREAMS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub streams: u32,

    /// Changes that may wait for one stream; a reader who is further behind is cut off
    #[arg(id = "watch_queue", long = "watch-queue", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_GAME_LIST_WATCH_QUEUE", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=65_536))]
    pub queue: u32,

    /// Time that a stream waits for a slow reader to take a message; then the reader is cut off
    #[arg(id = "watch_slow_reader_ms", long = "watch-slow-reader-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_GAME_LIST_WATCH_SLOW_READER_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub slow_reader_ms: u64,

    /// Time without a change after which a stream says that there was none
    #[arg(id = "watch_unchanged_ms", long = "watch-unchanged-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_GAME_LIST_WATCH_UNCHANGED_MS", default_value_t = 2_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub unchanged_ms: u64,

    /// Games of a customer who can be watched; with more, the stream is refused
    #[arg(id = "watch_games", long = "watch-games", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_GAME_LIST_WATCH_GAMES", default_value_t = 100_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub games: u32,
}

impl WatchingConfig {
    pub(crate) fn slow_reader(&self) -> Duration {
        Duration::from_millis(self.slow_reader_ms)
    }

    pub(crate) fn unchanged(&self) -> Duration {
        Duration::from_millis(self.unchanged_ms)
    }
}
