//! Reads the catalogue's file at the start.

use std::path::Path;

use gameshelf::catalog::{Catalog, CatalogError, FILE_MAX_BYTES};
use tokio::io::AsyncReadExt;

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// The file is refused.
    #[error(transparent)]
    Refused(#[from] CatalogError),
}

/// Reads the file, of which at most a byte over the limit: that is enough to refuse it.
pub(crate) async fn load(path: &Path) -> Result<Catalog, CatalogueError> {
    let mut bytes = Vec::new();
    let limit = FILE_MAX_BYTES as u64 + 1;
    tokio::fs::File::open(path).await?.take(limit).read_to_end(&mut bytes).await?;
    Ok(Catalog::parse(&bytes)?)
}
