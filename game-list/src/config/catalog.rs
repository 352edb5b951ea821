//! What can be set about the catalogue.

use std::path::PathBuf;

use clap::value_parser;
use gameshelf::catalog::FILE_MAX_BYTES;
use mesh::file::FileConfig;
use mesh::outbound::discovery::Source;
use mesh::version::Requirement;

use super::HOUR_MS;

/// How the catalogue is had.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Catalogue")]
pub struct CatalogConfig {
    /// Where it comes from.
    #[command(flatten)]
    pub from: CatalogFrom,

    /// Versions of purchase that are called
    #[arg(long, value_name = "RANGE", env = "GAMESHELF_PURCHASE_REQUIRES")]
    #[arg(default_value = concat!("^", env!("CARGO_PKG_VERSION")))]
    pub purchase_requires: Requirement,

    /// Time between two looks at the catalogue's file, or two questions to purchase
    #[arg(id = "catalog_interval_ms", long = "catalog-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_CATALOG_INTERVAL_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    pub interval_ms: u64,
}

/// Where the catalogue comes from: exactly one of the two is given.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "catalog_from", required = true, multiple = false)]
pub struct CatalogFrom {
    /// The catalogue, a CSV file, for the titles; it is read again when it changes
    #[arg(id = "catalog", long = "catalog", value_name = "FILE", env = "GAMESHELF_CATALOG")]
    pub file: Option<PathBuf>,

    /// Where purchase's instances are, told as those of the arbiter, to get the catalogue where no file can be shared
    #[arg(long, value_name = "SOURCE", env = "GAMESHELF_GAME_LIST_PURCHASE_ADDRESS")]
    pub purchase_address: Option<Source>,
}

impl CatalogConfig {
    /// How the file is watched.
    pub(crate) fn watching(&self) -> FileConfig {
        FileConfig { interval_ms: self.interval_ms, max_bytes: FILE_MAX_BYTES as u64 }
    }
}
