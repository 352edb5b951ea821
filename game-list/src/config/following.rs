//! What can be set about following the arbiter.

use std::time::Duration;

use clap::{ValueEnum, value_parser};
use copy::{Follow, Options};

use super::HOUR_MS;

/// How the arbiter is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FollowBy {
    /// One stream of changes.
    Stream,
    /// One call for changes after another, for networks that cut streams.
    Poll,
}

/// How the copy is kept.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "The copy")]
pub struct FollowingConfig {
    /// How the arbiter is followed
    #[arg(long, value_name = "WAY", env = "GAMESHELF_GAME_LIST_FOLLOW", default_value = "stream")]
    pub follow: FollowBy,

    /// Time that a poll waits at the arbiter for something to tell; less than --outbound-attempt-timeout-ms and
    /// --stale-stream-ms
    #[arg(long, value_name = "MS", env = "GAMESHELF_GAME_LIST_POLL_WAIT_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub poll_wait_ms: u64,

    /// The name under which the arbiter lists the copy. Each instance needs one of its own
    #[arg(long, value_name = "NAME", env = "GAMESHELF_GAME_LIST_COPY_NAME", default_value = "game-list")]
    #[arg(value_parser = copy_name)]
    pub copy_name: String,

    /// Whether the copy is compared with the arbiter's digests, and mended where it differs
    #[arg(long, value_name = "BOOL", env = "GAMESHELF_GAME_LIST_COPY_CHECK", default_value_t = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub copy_check: bool,

    /// Time between two of the 256 partitions of which all rows are read again from disk, to find damage
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_GAME_LIST_COPY_SCRUB_INTERVAL_MS",
        default_value_t = 1_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub copy_scrub_interval_ms: u64,

    /// Partitions that are mended one by one; where more differ the copy is built anew
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_GAME_LIST_COPY_REPAIR_PARTITIONS",
        default_value_t = 16
    )]
    #[arg(value_parser = value_parser!(u32).range(0..=256))]
    pub copy_repair_partitions: u32,

    /// Rows of a partition that is mended; where it has more the copy is built anew
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_GAME_LIST_COPY_REPAIR_ROWS",
        default_value_t = 1_000_000
    )]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    pub copy_repair_rows: u32,

    /// Wait before a repair that was in vain is tried again
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_GAME_LIST_COPY_REPAIR_RETRY_MS",
        default_value_t = 60_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub copy_repair_retry_ms: u64,

    /// Longest time between two reports to the arbiter of how far the copy is
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_GAME_LIST_COPY_REPORT_INTERVAL_MS",
        default_value_t = 5_000
    )]
    #[arg(value_parser = value_parser!(u64).range(100..=HOUR_MS))]
    pub copy_report_interval_ms: u64,

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
}

impl FollowingConfig {
    pub(crate) fn options(&self, message_max_bytes: usize) -> Options {
        let ms = Duration::from_millis;
        Options {
            name: self.copy_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            follow: match self.follow {
                FollowBy::Stream => Follow::Stream,
                FollowBy::Poll => Follow::Poll,
            },
            poll_wait: ms(self.poll_wait_ms),
            silence_max: ms(self.stale_stream_ms),
            backoff_base: ms(self.backoff_base_ms),
            backoff_max: ms(self.backoff_max_ms),
            queue_max_messages: self.apply_queue_messages as usize,
            batch_max_rows: self.apply_batch_rows as usize,
            message_max_bytes,
            check: self.copy_check,
            scrub_interval: ms(self.copy_scrub_interval_ms),
            repair_max_partitions: self.copy_repair_partitions as usize,
            repair_max_rows: self.copy_repair_rows as usize,
            repair_retry: ms(self.copy_repair_retry_ms),
            probe_interval: ms(self.probe_interval_ms),
            probe_timeout: ms(self.probe_timeout_ms),
            probe_overdue: ms(self.probe_overdue_ms),
            report_interval: ms(self.copy_report_interval_ms),
        }
    }
}

fn copy_name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_name) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 characters of a to z, 0 to 9, \"-\", \"_\" and \".\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_named_as_the_arbiter_takes_it() {
        for name in ["game-list", "a_1.b", &"x".repeat(64)] {
            assert_eq!(copy_name(name).as_deref(), Ok(name));
        }
        for name in ["", "A", "a b", "ä", &"x".repeat(65)] {
            assert!(copy_name(name).is_err(), "{name}");
        }
    }
}
