//! What can be set about finding instances.

use clap::value_parser;

use super::DnsConfig;
use crate::file::FileConfig;

/// The longest time that can be configured: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How lists of instances are kept up to date.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Finding the instances of services")]
pub struct DiscoveryConfig {
    /// Time between two looks at a file of addresses
    #[arg(id = "discovery_file_interval_ms", long = "discovery-file-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISCOVERY_FILE_INTERVAL_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub file_interval_ms: u64,

    /// Largest file of addresses that is read
    #[arg(id = "discovery_file_max_bytes", long = "discovery-file-max-bytes", value_name = "BYTES")]
    #[arg(env = "GAMESHELF_DISCOVERY_FILE_MAX_BYTES", default_value_t = 1024 * 1024)]
    #[arg(value_parser = value_parser!(u64).range(1..=64 * 1024 * 1024))]
    pub file_max_bytes: u64,

    /// Time between two resolutions of a name, where the resolver does not tell how long its answer holds
    #[arg(id = "discovery_dns_interval_ms", long = "discovery-dns-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISCOVERY_DNS_INTERVAL_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub dns_interval_ms: u64,

    /// Shortest time between two resolutions of a name, whatever its answer says
    #[arg(id = "discovery_dns_min_interval_ms", long = "discovery-dns-min-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISCOVERY_DNS_MIN_INTERVAL_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub dns_min_interval_ms: u64,

    /// Longest time between two resolutions of a name, whatever its answer says
    #[arg(id = "discovery_dns_max_interval_ms", long = "discovery-dns-max-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISCOVERY_DNS_MAX_INTERVAL_MS", default_value_t = 60_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub dns_max_interval_ms: u64,

    /// Time for one resolution of a name
    #[arg(id = "discovery_dns_timeout_ms", long = "discovery-dns-timeout-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_DISCOVERY_DNS_TIMEOUT_MS", default_value_t = 5_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub dns_timeout_ms: u64,
}

impl DiscoveryConfig {
    /// How a file of addresses is watched.
    #[must_use]
    pub fn file(&self) -> FileConfig {
        FileConfig { interval_ms: self.file_interval_ms, max_bytes: self.file_max_bytes }
    }

    /// How often a name is resolved.
    #[must_use]
    pub fn dns(&self) -> DnsConfig {
        DnsConfig {
            interval_ms: self.dns_interval_ms,
            min_interval_ms: self.dns_min_interval_ms,
            max_interval_ms: self.dns_max_interval_ms,
            timeout_ms: self.dns_timeout_ms,
        }
    }
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            file_interval_ms: 1_000,
            file_max_bytes: 1024 * 1024,
            dns_interval_ms: 5_000,
            dns_min_interval_ms: 1_000,
            dns_max_interval_ms: 60_000,
            dns_timeout_ms: 5_000,
        }
    }
}
