//! Tells those who watch a customer's games what the copy applied. Each has a bounded queue; who does not keep up is cut off,
//! and the copy never waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use copy::Commit;
use gameshelf::digest;
use gameshelf::tokens::Token;
use opentelemetry::global;
use opentelemetry::metrics::{Counter, UpDownCounter};
use tokio::sync::mpsc;

use crate::model::OwnedGame;

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// What one commit changed for the customer.
    Changed { revision: Token, granted: Vec<OwnedGame>, revoked: Vec<String> },
    /// What was shown before is void: the copy, or its part with the customer, was written anew.
    Void,
}

/// As many watch as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} streams are open, as many as may be")]
pub(crate) struct TooMany {
    pub(crate) limit: usize,
}

type Watchers = Vec<(u64, mpsc::Sender<Update>)>;

#[derive(Debug, Default)]
struct Inner {
    published: Option<Token>,
    next_id: u64,
    count: usize,
    watchers: HashMap<String, Watchers>,
}

/// Everybody who watches.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    watchers_max: usize,
    queue_max: usize,
    open: UpDownCounter<i64>,
    cut_off: Counter<u64>,
}

impl Hub {
    pub(crate) fn new(watchers_max: usize, queue_max: usize) -> Self {
        let meter = global::meter("game-list");
        Self {
            inner: Mutex::default(),
            watchers_max,
            queue_max,
            open: meter
                .i64_up_down_counter("gameshelf.game_list.watch.streams")
                .with_description("Streams of customers' games that are open.")
                .build(),
            cut_off: meter
                .u64_counter("gameshelf.game_list.watch.cut_off")
                .with_description("Streams that were cut off because their reader was too slow.")
                .build(),
        }
    }

    // Every change under the lock is complete before anything can panic, so a poisoned lock holds good data.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells from now on what becomes of a customer's games.
    pub(crate) fn subscribe(self: &Arc<Self>, customer_id: &str) -> Result<Subscription, TooMany> {
        let mut inner = self.inner();
        if inner.count >= self.watchers_max {
            return Err(TooMany { limit: self.watchers_max });
        }
        let (sender, updates) = mpsc::channel(self.queue_max);
        inner.count += 1;
        inner.next_id += 1;
        let id = inner.next_id;
        inner.watchers.entry(customer_id.to_owned()).or_default().push((id, sender));
        drop(inner);
        self.open.add(1, &[]);
        Ok(Subscription { hub: Arc::clone(self), customer_id: customer_id.to_owned(), id, updates })
    }

    /// Commits were applied, up to `to`.
    pub(crate) fn applied(&self, to: Token, commits: &[Commit]) {
        let mut inner = self.inner();
        inner.published = Some(to);
        if inner.watchers.is_empty() {
            return;
        }
        for commit in commits {
            let mut told: HashMap<&str, (Vec<OwnedGame>, Vec<String>)> = HashMap::new();
            let watched = |change: &&copy::Change| inner.watchers.contains_key(&change.customer_id);
            for change in commit.changes.iter().filter(watched) {
                let (granted, revoked) = told.entry(&change.customer_id).or_default();
                if change.granted {
                    let since_revision = commit.revision;
                    granted.push(OwnedGame { game_id: change.game_id.clone(), since_revision });
                } else {
                    revoked.push(change.game_id.clone());
                }
            }
            for (customer_id, (granted, revoked)) in told {
                let update = Update::Changed { revision: to.at(commit.revision), granted, revoked };
                if let Some(watchers) = inner.watchers.get_mut(customer_id) {
                    self.tell(watchers, &update);
                }
            }
        }
    }

    /// The copy was written anew, and shows `to`.
    pub(crate) fn rebuilt(&self, to: Token) {
        let mut inner = self.inner();
        inner.published = Some(to);
        for watchers in inner.watchers.values_mut() {
            self.tell(watchers, &Update::Void);
        }
    }

    /// A partition of customers was written anew.
    pub(crate) fn mended(&self, partition: u8) {
        let mut inner = self.inner();
        for (_, watchers) in
            inner.watchers.iter_mut().filter(|(customer_id, _)| digest::partition(customer_id) == partition)
        {
            self.tell(watchers, &Update::Void);
        }
    }

    /// Whoever has no room any more is told no more: their queue ends behind what is in it.
    fn tell(&self, watchers: &mut Watchers, update: &Update) {
        watchers.retain(|(_, sender)| {
            let told = sender.try_send(update.clone()).is_ok();
            if !told {
                self.cut_off.add(1, &[]);
            }
            told
        });
    }
}

/// The updates of one customer. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    customer_id: String,
    id: u64,
    updates: mpsc::Receiver<Update>,
}

impl Subscription {
    /// The next update; none when this one was cut off.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// What has been told, all of it, where nothing waits in the queue.
    pub(crate) fn complete_to(&self) -> Option<Token> {
        // Under the lock nothing is told meanwhile.
        let inner = self.hub.inner();
        inner.published.filter(|_| self.updates.is_empty())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.hub.inner();
        inner.count = inner.count.saturating_sub(1);
        if let Some(watchers) = inner.watchers.get_mut(&self.customer_id) {
            watchers.retain(|(id, _)| *id != self.id);
            if watchers.is_empty() {
                inner.watchers.remove(&self.customer_id);
            }
        }
        drop(inner);
        self.hub.open.add(-1, &[]);
    }
}
