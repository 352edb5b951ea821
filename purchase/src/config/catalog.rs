//! What can be set about the catalogue.

use std::path::PathBuf;

use clap::value_parser;
use gameshelf::catalog::FILE_MAX_BYTES;
use mesh::file::FileConfig;

use super::DAY_MS;

/// Where the catalogue is, and how it is given to others.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Catalogue")]
pub struct CatalogConfig {
    /// The catalogue of games, a CSV file; it is read again when it changes
    #[arg(id = "catalog", long = "catalog", value_name = "FILE", env = "GAMESHELF_CATALOG")]
    pub file: PathBuf,

    /// Time between two looks at the catalogue's file
    #[arg(id = "catalog_interval_ms", long = "catalog-interval-ms", value_name = "MS")]
    #[arg(env = "GAMESHELF_CATALOG_INTERVAL_MS", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DAY_MS))]
    pub interval_ms: u64,

    /// Games in a page of the catalogue when the caller does not say
    #[arg(id = "catalog_page_size_default", long = "catalog-page-size-default", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_PURCHASE_CATALOG_PAGE_SIZE_DEFAULT", default_value_t = 1_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000))]
    pub page_size_default: u32,

    /// Games in a page of the catalogue at most
    #[arg(id = "catalog_page_size_max", long = "catalog-page-size-max", value_name = "COUNT")]
    #[arg(env = "GAMESHELF_PURCHASE_CATALOG_PAGE_SIZE_MAX", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000))]
    pub page_size_max: u32,
}

impl CatalogConfig {
    /// How the file is watched.
    pub(crate) fn watching(&self) -> FileConfig {
        let max_bytes = u64::try_from(FILE_MAX_BYTES).unwrap_or(u64::MAX);
        FileConfig { interval_ms: self.interval_ms, max_bytes }
    }
}
