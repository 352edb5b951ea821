//! The catalogue, for the titles: a file that is read again when it changes, or what purchase says.

mod follow;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use gameshelf::catalog::{Catalog, CatalogError};
use mesh::environment::Environment;
use mesh::file::{FileError, Watched};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{CatalogConfig, Config};
use crate::purchase::Purchase;
use crate::run::RunError;
use crate::store::Store;
use follow::{Followed, Follower};
use metrics::Metrics;

/// The catalogue as it is now. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Titles {
    /// A file.
    File(Watched<Catalog>),
    /// What purchase gave.
    Purchase(watch::Receiver<Followed>),
}

impl Titles {
    /// The catalogue as it is now; an answer is made of one.
    pub(crate) fn current(&self) -> Arc<Catalog> {
        match self {
            Self::File(watched) => watched.current(),
            Self::Purchase(followed) => Arc::clone(&followed.borrow().catalog),
        }
    }

    /// Waits until the catalogue is there, or was asked for in vain.
    pub(crate) async fn tried(&self) {
        if let Self::Purchase(followed) = self {
            // When nobody asks any more, there is nothing to wait for.
            let _ = followed.clone().wait_for(|followed| followed.tried).await;
        }
    }
}

/// Reads the catalogue's file, and goes on watching it.
pub(crate) async fn watch(
    config: &CatalogConfig,
    environment: &Environment,
) -> Result<Option<Titles>, RunError> {
    let Some(path) = &config.from.file else { return Ok(None) };
    let opened = Watched::open(path, config.watching(), environment, read).await;
    let refused = |error| {
        let why = match error {
            FileError::Read { error, .. } => error.to_string(),
            FileError::TooLarge { limit_bytes, .. } => format!("the file has over {limit_bytes} bytes"),
            FileError::Invalid { why, .. } => why,
            other => other.to_string(),
        };
        RunError::Catalog { path: path.clone(), why }
    };
    opened.map(Titles::File).map(Some).map_err(refused)
}

fn read(content: &[u8]) -> Result<Catalog, CatalogError> {
    let catalog = Catalog::parse(content)?;
    tracing::info!(hash = catalog.hash(), games = catalog.len(), "the catalogue was read");
    Ok(catalog)
}

/// Begins with the catalogue that was kept, and goes on asking purchase, until the handle is dropped.
pub(crate) async fn follow(
    purchase: Purchase,
    config: &Config,
    store: &Arc<Store>,
    environment: &Environment,
) -> Result<(Titles, AbortOnDropHandle<()>), RunError> {
    let interval = Duration::from_millis(config.catalog.interval_ms);
    let metrics = Metrics::new(&config.following.copy_name);
    let follower =
        Follower::new(purchase, Arc::clone(store), Arc::clone(&environment.clock), metrics).await?;
    let titles = Titles::Purchase(follower.followed());
    Ok((titles, AbortOnDropHandle::new(tokio::spawn(follower.run(interval)))))
}
