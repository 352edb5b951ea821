//! What can be set about a copy.

use std::time::Duration;

/// How the arbiter is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// By Watch: one stream.
    #[default]
    Stream,
    /// By `PollChanges`: one call after another, for networks that cut streams.
    Poll,
}

/// What can be set about a copy. The defaults are good ones.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name under which the arbiter knows the copy: 1 to 64 characters of a to z, 0 to 9, "-", "_" and ".".
    pub name: String,
    /// The version of the service that keeps the copy; at most 64 bytes.
    pub version: String,
    /// How the arbiter is followed.
    pub follow: Follow,
    /// How long a poll waits at the arbiter while there is nothing to tell. Less than the time that a call may take.
    pub poll_wait: Duration,
    /// How long a stream may be silent before it is opened again.
    pub silence_max: Duration,
    /// The wait after the first failure; it doubles with each further one.
    pub backoff_base: Duration,
    /// The longest wait after a failure.
    pub backoff_max: Duration,
    /// The most messages that wait to be applied; more are held back.
    pub queue_max_messages: usize,
    /// About how many rows share a transaction; one message may have more.
    pub batch_max_rows: usize,
    /// The largest message that is taken.
    pub message_max_bytes: usize,
    /// Whether the rows are compared with the arbiter's digests, and mended where they differ.
    pub check: bool,
    /// The time between two partitions of which all rows are read again, to find damage.
    pub scrub_interval: Duration,
    /// The most partitions that are mended one by one; where more differ the copy is built anew.
    pub repair_max_partitions: usize,
    /// The most rows of a partition that is mended; where one has more the copy is built anew.
    pub repair_max_rows: usize,
    /// The wait before a repair that was in vain is tried again.
    pub repair_retry: Duration,
    /// The time between an answer and the next question for the arbiter's head, by which the copy knows its age.
    pub probe_interval: Duration,
    /// How long such an answer is waited for.
    pub probe_timeout: Duration,
    /// The time without such an answer after which the copy counts as degraded.
    pub probe_overdue: Duration,
    /// The longest time between two reports to the arbiter.
    pub report_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "copy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            follow: Follow::Stream,
            poll_wait: Duration::from_secs(1),
            silence_max: Duration::from_secs(5),
            backoff_base: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            queue_max_messages: 16,
            batch_max_rows: 10_000,
            message_max_bytes: 4 << 20,
            check: true,
            scrub_interval: Duration::from_secs(1),
            repair_max_partitions: 16,
            repair_max_rows: 1_000_000,
            repair_retry: Duration::from_mins(1),
            probe_interval: Duration::from_millis(200),
            probe_timeout: Duration::from_secs(1),
            probe_overdue: Duration::from_secs(2),
            report_interval: Duration::from_secs(5),
        }
    }
}
