//! Keeps the catalogue as purchase has it, in memory and on disk.

use std::sync::Arc;
use std::time::Duration;

use gameshelf::catalog::Catalog;
use mesh::environment::Clock;
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::purchase::{Answer, FetchError, Purchase};
use crate::store::{Store, StoreError};

/// How old the time on disk may become: it is only there to tell an age after a start, and not worth a write each second.
const CONFIRM_EVERY_MS: u64 = 60_000;

/// What purchase gave.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(super) catalog: Arc<Catalog>,
    /// Whether purchase was asked since the start, be it in vain.
    pub(super) tried: bool,
}

/// Asks purchase again and again.
#[derive(Debug)]
pub(super) struct Follower {
    purchase: Purchase,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    followed: watch::Sender<Followed>,
    metrics: Metrics,
    /// When purchase said that the catalogue is the current one; none while there is no catalogue.
    confirmed_unix_ms: Option<u64>,
    /// The hash and the time on disk.
    kept: Option<(String, u64)>,
    /// What was wrong the last time, so that it is said once.
    trouble: Option<String>,
}

impl Follower {
    /// Begins with the catalogue on disk, where there is one.
    pub(super) async fn new(
        purchase: Purchase,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let kept = match store.catalog().await {
            Err(StoreError::Corrupt) => {
                tracing::warn!("the catalogue on disk cannot be used; there is none until purchase gives it");
                None
            }
            other => other?,
        };
        let on_disk = kept.as_ref().map(|kept| (kept.catalog.hash().to_owned(), kept.confirmed_unix_ms));
        let catalog = kept.map_or_else(Catalog::none, |kept| kept.catalog);
        Ok(Self {
            purchase,
            store,
            clock,
            followed: watch::Sender::new(Followed { catalog: Arc::new(catalog), tried: false }),
            metrics,
            confirmed_unix_ms: on_disk.as_ref().map(|(_, confirmed)| *confirmed),
            kept: on_disk,
            trouble: None,
        })
    }

    /// What is followed, as it changes.
    pub(super) fn followed(&self) -> watch::Receiver<Followed> {
        self.followed.subscribe()
    }

    /// Asks at once, and then by the interval. Each question is bounded by the limits of calls.
    pub(super) async fn run(mut self, interval: Duration) {
        loop {
            let trouble = self.ask().await.err().map(|error| error.to_string());
            self.tell(trouble);
            self.followed.send_modify(|followed| followed.tried = true);
            if let Some(confirmed) = self.confirmed_unix_ms {
                self.metrics.age(Duration::from_millis(self.clock.unix_ms().saturating_sub(confirmed)));
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn ask(&mut self) -> Result<(), AskError> {
        // From before the question: the catalogue may change while the answer is on its way.
        let asked_unix_ms = self.clock.unix_ms();
        let known = Arc::clone(&self.followed.borrow().catalog);
        let answer = self.purchase.catalog(known.hash()).await;
        self.metrics.asked(match &answer {
            Ok(Answer::Changed(_)) => "changed",
            Ok(Answer::Unchanged) => "unchanged",
            Err(_) => "failed",
        });
        let current = match answer? {
            Answer::Unchanged => known,
            Answer::Changed(catalog) => {
                tracing::info!(hash = catalog.hash(), games = catalog.len(), "purchase gave the catalogue");
                let catalog = Arc::new(catalog);
                self.followed.send_modify(|followed| followed.catalog = Arc::clone(&catalog));
                catalog
            }
        };
        self.confirmed_unix_ms = Some(asked_unix_ms);
        Ok(self.keep(&current, asked_unix_ms).await?)
    }

    /// Writes what the disk does not have yet. What fails is tried again with the next answer.
    async fn keep(&mut self, catalog: &Catalog, confirmed_unix_ms: u64) -> Result<(), StoreError> {
        match &self.kept {
            Some((hash, at)) if hash == catalog.hash() => {
                if confirmed_unix_ms.abs_diff(*at) < CONFIRM_EVERY_MS {
                    return Ok(());
                }
                self.store.confirm_catalog(confirmed_unix_ms).await?;
            }
            _ => self.store.keep_catalog(catalog, confirmed_unix_ms).await?,
        }
        self.kept = Some((catalog.hash().to_owned(), confirmed_unix_ms));
        Ok(())
    }

    fn tell(&mut self, trouble: Option<String>) {
        match (&self.trouble, &trouble) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                tracing::warn!(why, "the catalogue is not up to date, the one from before is shown");
            }
            (Some(_), None) => tracing::info!("the catalogue is up to date again"),
            _ => {}
        }
        self.trouble = trouble;
    }
}

/// Why the catalogue is not up to date, or not on disk.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("it is not kept: {0}")]
    Store(#[from] StoreError),
}
