//! How far the replies have come, whichever instance took them. The database tells nobody by itself, so one task of each instance
//! looks, however many subscriptions there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::store::Store;

/// The position of the newest reply. Cheap to clone; the looking ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct News {
    newest: watch::Sender<u64>,
    _looking: Arc<AbortOnDropHandle<()>>,
}

impl News {
    /// Begins to look.
    pub(super) fn follow(store: &Arc<Store>, interval: Duration) -> Self {
        let newest = watch::Sender::new(0);
        let looking = tokio::spawn(look(Arc::clone(store), interval, newest.clone()));
        Self { newest, _looking: Arc::new(AbortOnDropHandle::new(looking)) }
    }

    /// A reply was committed here: those who wait need not wait for the next look.
    pub(super) fn tell(&self, position: u64) {
        raise(&self.newest, position);
    }

    /// Hears of each rise.
    pub(super) fn hear(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

async fn look(store: Arc<Store>, interval: Duration, newest: watch::Sender<u64>) {
    let mut is_failing = false;
    loop {
        match store.newest_position().await {
            Ok(position) => {
                is_failing = false;
                raise(&newest, position);
            }
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "new replies cannot be looked for; it is tried again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(interval).await;
    }
}

fn raise(newest: &watch::Sender<u64>, position: u64) {
    newest.send_if_modified(|known| {
        let is_new = position > *known;
        *known = position.max(*known);
        is_new
    });
}
