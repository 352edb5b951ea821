//! What can be set about the arbiter.

use std::time::Duration;

use clap::value_parser;
use database::{DatabaseConfig, Url};
use mesh::inbound::InboundConfig;

use crate::copies::CopyLimits;
use crate::domain::Rules;
use crate::grpc::{ImportLimits, RequestLimits};
use crate::sequencer::SequencerLimits;
use crate::store::StoreOptions;
use crate::watch::{TrimLimits, WatchLimits};

/// Everything that can be set about the arbiter. Every option has a flag, an environment variable and a default.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Where the data is kept: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL", env = "GAMESHELF_ARBITER_DATABASE_URL", hide_env_values = true)]
    #[arg(default_value = "sqlite:gameshelf-data/arbiter/store.sqlite")]
    pub database_url: Url,

    /// How the database is opened.
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Time for which this arbiter surely leads a store on a server after it renewed its lease there; the next one waits it out
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_LEASE_MS", default_value_t = 3_000)]
    #[arg(value_parser = value_parser!(u64).range(100..=600_000))]
    pub lease_ms: u64,

    /// Take the lead of a store on a server from an arbiter that is alive; without it this one refuses to start
    #[arg(long, env = "GAMESHELF_ARBITER_TAKE_OVER")]
    pub take_over: bool,

    /// The store was restored from a backup: tokens from before are refused and copies are made anew. Mostly it is noticed without this;
    /// for one start
    #[arg(long, env = "GAMESHELF_ARBITER_RESTORED")]
    pub restored: bool,

    /// Writes that may wait; one more is refused at once with UNAVAILABLE
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_QUEUE_REQUESTS", default_value_t = 4096)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub queue_requests: u32,

    /// Bytes of writes that wait or are being committed; more are refused at once with UNAVAILABLE
    #[arg(long, value_name = "BYTES", env = "GAMESHELF_ARBITER_QUEUE_BYTES", default_value_t = 64 << 20)]
    #[arg(value_parser = value_parser!(u32).range(1 << 20..=1 << 30))]
    pub queue_bytes: u32,

    /// Writes that share one transaction, beside at most twice as many of what ends by itself
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_BATCH_REQUESTS", default_value_t = 512)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub batch_requests: u32,

    /// Bytes of writes that share one transaction; a larger one has a transaction of its own
    #[arg(long, value_name = "BYTES", env = "GAMESHELF_ARBITER_BATCH_BYTES", default_value_t = 1 << 20)]
    #[arg(value_parser = value_parser!(u32).range(1024..=64 << 20))]
    pub batch_bytes: u32,

    /// New entitlements that wait in memory before they are written into their table, on SQLite; they are on the disk in the log
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_MEMTABLE_ROWS", default_value_t = 65_536)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub memtable_rows: u32,

    /// Time that a commit may take on a server; what became of one that took longer is not known, and settled
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_COMMIT_TIMEOUT_MS", default_value_t = 3_000)]
    #[arg(value_parser = value_parser!(u64).range(10..=600_000))]
    pub commit_timeout_ms: u64,

    /// Time in which a store that does not answer is asked again before callers are told
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_SETTLE_TIMEOUT_MS", default_value_t = 1_500)]
    #[arg(value_parser = value_parser!(u64).range(0..=600_000))]
    pub settle_timeout_ms: u64,

    /// Changes that one request may ask for
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_ARBITER_CHANGES_PER_REQUEST",
        default_value_t = 1_000
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub changes_per_request: u32,

    /// Pairs that one check may ask for
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_PAIRS_PER_CHECK", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub pairs_per_check: u32,

    /// Entitlements in a page when the caller does not say
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_PAGE_SIZE_DEFAULT", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub page_size_default: u32,

    /// Entitlements in a page at most
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_PAGE_SIZE_MAX", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub page_size_max: u32,

    /// Open reservations that one customer may have
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_ARBITER_RESERVATIONS_PER_CUSTOMER",
        default_value_t = 100
    )]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub reservations_per_customer: u32,

    /// Time for which a reservation may hold a game
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_RESERVATION_HOLD_MAX_MS",
        default_value_t = 86_400_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=31_536_000_000))]
    pub reservation_hold_max_ms: u64,

    /// Limited editions that there may be; their stocks are kept in memory
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_LIMITED_EDITIONS", default_value_t = 100_000)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub limited_editions: u32,

    /// Time for which outcomes of requests are kept, so that a repeat has no second effect
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_REQUEST_RETENTION_MS",
        default_value_t = 2_592_000_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1_000..=315_360_000_000))]
    pub request_retention_ms: u64,

    /// Time between two looks for outcomes that may be forgotten
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_TRIM_INTERVAL_MS", default_value_t = 3_600_000)]
    #[arg(value_parser = value_parser!(u64).range(100..=604_800_000))]
    pub trim_interval_ms: u64,

    /// Imports that may run at once; one more is refused with UNAVAILABLE
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_IMPORTS_MAX", default_value_t = 4)]
    #[arg(value_parser = value_parser!(u32).range(0..=1_000))]
    pub imports_max: u32,

    /// Requests of one import that are read and not answered; further ones wait on the network
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_IMPORT_IN_FLIGHT", default_value_t = 16)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_024))]
    pub import_in_flight: u32,

    /// Copies that may be known by name; one more is refused
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_COPIES_MAX", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(0..=100_000))]
    pub copies_max: u32,

    /// Time between two reports of a copy, as it is asked for; what copies report is stored as often
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_COPY_REPORT_INTERVAL_MS",
        default_value_t = 5_000
    )]
    #[arg(value_parser = value_parser!(u64).range(10..=3_600_000))]
    pub copy_report_interval_ms: u64,

    /// Time after which a copy that is not seen any more is no longer listed
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_COPY_FORGET_AFTER_MS",
        default_value_t = 2_592_000_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1_000..=315_360_000_000))]
    pub copy_forget_after_ms: u64,

    /// Changes after which the digests of everything are stored again; a new process folds so many from the log, or a few more
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAMESHELF_ARBITER_DIGEST_CHECKPOINT_CHANGES",
        default_value_t = 50_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub digest_checkpoint_changes: u64,

    /// Bytes of customers' games that are kept in memory, so that strong reads of them touch no database
    #[arg(long, value_name = "BYTES", env = "GAMESHELF_ARBITER_CACHE_BYTES", default_value_t = 128 << 20)]
    #[arg(value_parser = value_parser!(u64).range(0..=1 << 40))]
    pub cache_bytes: u64,

    /// Watch streams that may be open
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_WATCHERS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub watchers: u32,

    /// Bytes of the newest commits that are kept in memory for Watch; older ones are read from the store
    #[arg(long, value_name = "BYTES", env = "GAMESHELF_ARBITER_WATCH_BUFFER_BYTES", default_value_t = 16 << 20)]
    #[arg(value_parser = value_parser!(u32).range(0..=1 << 30))]
    pub watch_buffer_bytes: u32,

    /// Bytes of commits read from the store that are kept in memory for other readers of Watch that catch up
    #[arg(
        long,
        value_name = "BYTES",
        env = "GAMESHELF_ARBITER_WATCH_LOG_CACHE_BYTES",
        default_value_t = 16 << 20
    )]
    #[arg(value_parser = value_parser!(u32).range(0..=1 << 30))]
    pub watch_log_cache_bytes: u32,

    /// Bytes of commits that may wait for a slow reader of a Watch stream, and that one poll answers; a larger commit goes alone
    #[arg(long, value_name = "BYTES", env = "GAMESHELF_ARBITER_WATCH_QUEUE_BYTES", default_value_t = 256 << 10)]
    #[arg(value_parser = value_parser!(u32).range(1024..=1 << 20))]
    pub watch_queue_bytes: u32,

    /// Customers, games and partitions that one filter of Watch may name, all together
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_ARBITER_WATCH_FILTER_ITEMS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    pub watch_filter_items: u32,

    /// Time that one poll of changes may wait for something to tell
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_POLL_WAIT_MAX_MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=600_000))]
    pub poll_wait_max_ms: u64,

    /// Time for which commits are kept in the log; a reader from before begins with a snapshot
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_LOG_RETENTION_MS",
        default_value_t = 604_800_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=315_360_000_000))]
    pub log_retention_ms: u64,

    /// Bytes of commits that are kept in the log, about
    #[arg(
        long,
        value_name = "BYTES",
        env = "GAMESHELF_ARBITER_LOG_RETENTION_BYTES",
        default_value_t = 10 << 30
    )]
    #[arg(value_parser = value_parser!(u64).range(0..=1 << 50))]
    pub log_retention_bytes: u64,

    /// Time between two looks for commits that need not be kept
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_LOG_TRIM_INTERVAL_MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(10..=86_400_000))]
    pub log_trim_interval_ms: u64,

    /// Time for which the log after a snapshot is kept for whoever reads the snapshot, whatever its age
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_SNAPSHOT_HOLD_MAX_MS",
        default_value_t = 600_000
    )]
    #[arg(value_parser = value_parser!(u64).range(0..=86_400_000))]
    pub snapshot_hold_max_ms: u64,

    /// Time after which a reader that takes no message is cut off
    #[arg(
        long,
        value_name = "MS",
        env = "GAMESHELF_ARBITER_SLOW_READER_TIMEOUT_MS",
        default_value_t = 10_000
    )]
    #[arg(value_parser = value_parser!(u64).range(1..=3_600_000))]
    pub slow_reader_timeout_ms: u64,

    /// Time between two bookmarks on an idle Watch stream
    #[arg(long, value_name = "MS", env = "GAMESHELF_ARBITER_BOOKMARK_INTERVAL_MS", default_value_t = 500)]
    #[arg(value_parser = value_parser!(u64).range(10..=1_000))]
    pub bookmark_interval_ms: u64,

    /// How the service serves.
    #[command(flatten)]
    pub inbound: InboundConfig,
}

/// The most entitlements in one message of a snapshot: each takes at most about 210 bytes.
const SNAPSHOT_CHUNK: u32 = 2_000;
/// The pause between two attempts at a store that does not answer.
const SETTLE_PAUSE_MS: u64 = 50;

impl Config {
    pub(crate) fn sequencer_limits(&self) -> SequencerLimits {
        SequencerLimits {
            queue_requests: self.queue_requests as usize,
            queue_bytes: self.queue_bytes as usize,
            batch_requests: self.batch_requests as usize,
            batch_bytes: self.batch_bytes as usize,
            settle_timeout_ms: self.settle_timeout_ms,
            settle_pause_ms: SETTLE_PAUSE_MS,
            request_retention_ms: self.request_retention_ms,
            trim_interval_ms: self.trim_interval_ms,
            rules: self.rules(),
        }
    }

    pub(crate) fn store_options(&self) -> StoreOptions {
        let commit_timeout = Duration::from_millis(self.commit_timeout_ms);
        StoreOptions { commit_timeout, memtable_rows: self.memtable_rows }
    }

    /// How long it takes at most until those are told who wait for a store that does not answer.
    pub(crate) fn settle_patience(&self) -> Duration {
        Duration::from_millis(self.commit_timeout_ms.saturating_add(self.settle_timeout_ms))
    }

    pub(crate) fn copy_limits(&self) -> CopyLimits {
        CopyLimits {
            copies: self.copies_max as usize,
            forget_after_ms: self.copy_forget_after_ms,
            interval_ms: self.copy_report_interval_ms,
        }
    }

    pub(crate) fn import_limits(&self) -> ImportLimits {
        let (streams, in_flight) = (self.imports_max as usize, self.import_in_flight as usize);
        ImportLimits { streams, in_flight }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules {
            reservations_per_customer: self.reservations_per_customer as usize,
            limited_editions: self.limited_editions as usize,
        }
    }

    pub(crate) fn request_limits(&self) -> RequestLimits {
        RequestLimits {
            changes_per_request: self.changes_per_request as usize,
            pairs_per_check: self.pairs_per_check as usize,
            page_size_default: self.page_size_default.min(self.page_size_max),
            page_size_max: self.page_size_max,
            reservation_hold_max_ms: self.reservation_hold_max_ms,
            filter_items: self.watch_filter_items as usize,
            poll_wait_max_ms: self.poll_wait_max_ms,
        }
    }

    pub(crate) fn watch_limits(&self) -> WatchLimits {
        WatchLimits {
            watchers: self.watchers as usize,
            message_bytes: self.watch_queue_bytes as usize,
            snapshot_chunk: SNAPSHOT_CHUNK,
            log_cache_bytes: self.watch_log_cache_bytes as usize,
            slow_reader_timeout_ms: self.slow_reader_timeout_ms,
            bookmark_interval_ms: self.bookmark_interval_ms,
            snapshot_hold_max_ms: self.snapshot_hold_max_ms,
        }
    }

    pub(crate) fn trim_limits(&self) -> TrimLimits {
        TrimLimits {
            retention_ms: self.log_retention_ms,
            retention_bytes: self.log_retention_bytes,
            interval_ms: self.log_trim_interval_ms,
        }
    }
}
