//! The catalogue's file, which is read again when it changes. What is wrong is not used, and said once.

use gameshelf::catalog::{Catalog, CatalogError};
use mesh::environment::Environment;
use mesh::file::{FileError, Watched};

use crate::RunError;
use crate::config::CatalogConfig;

/// Reads the catalogue, and goes on watching it.
pub(crate) async fn open(
    config: &CatalogConfig,
    environment: &Environment,
) -> Result<Watched<Catalog>, RunError> {
    let opened = Watched::open(&config.file, config.watching(), environment, read).await;
    let path = config.file.display().to_string();
    opened.map_err(|error| match error {
        FileError::Read { error: source, .. } => RunError::CatalogUnreadable { path, source },
        FileError::TooLarge { limit_bytes, .. } => {
            RunError::CatalogWrong { path, why: format!("the file has over {limit_bytes} bytes") }
        }
        FileError::Invalid { why, .. } => RunError::CatalogWrong { path, why },
        other => RunError::CatalogWrong { path, why: other.to_string() },
    })
}

fn read(content: &[u8]) -> Result<Catalog, CatalogError> {
    let catalog = Catalog::parse(content)?;
    tracing::info!(hash = catalog.hash(), games = catalog.len(), "the catalogue was read");
    Ok(catalog)
}
