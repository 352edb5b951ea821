//! What customers own, in memory, and the stocks of limited editions: what strong reads of warm customers answer from.
//!
//! It is coherent because it stands in the only writer: it changes when a commit is on the disk, together with the newest
//! revision, and never before. It is bounded by bytes; what was not read for longest goes first.

mod customer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::global;
use quick_cache::Weighter;
use quick_cache::unsync::Cache as ByUse;

pub(crate) use customer::CustomerGames;

use crate::domain::{CustomerId, Effects, Entitlement, GameId, Revision, Stock};

/// About how many bytes one customer takes; it only sizes the tables of the cache.
const CUSTOMER_BYTES_EXPECTED: u64 = 1024;

/// The newest revision, and what is known in memory at it.
#[derive(Debug)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
    /// Observed when metrics are collected: to count is then all that a read pays.
    hits: Arc<AtomicU64>,
    misses: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Inner {
    head: Revision,
    customers: ByUse<CustomerId, Arc<CustomerGames>, ByBytes>,
    /// Customers that are being loaded, and whether they changed since their load began.
    loading: HashMap<CustomerId, Loading>,
    stocks: HashMap<GameId, Stock>,
}

#[derive(Debug, Default)]
struct Loading {
    loads: usize,
    changed: bool,
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<CustomerId, Arc<CustomerGames>> for ByBytes {
    fn weight(&self, customer_id: &CustomerId, games: &Arc<CustomerGames>) -> u64 {
        (customer_id.as_str().len() + games.bytes()) as u64
    }
}

/// A customer's games are being read from the store, as they are at a revision.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    cache: &'a Cache,
    customer_id: CustomerId,
    pub(crate) at: Revision,
}

/// A number of lookups that is exported.
fn lookups(name: &'static str, description: &'static str) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let observed = Arc::clone(&count);
    global::meter("gameshelf.arbiter")
        .u64_observable_counter(name)
        .with_description(description)
        .with_unit("{lookup}")
        .with_callback(move |counter| counter.observe(observed.load(Ordering::Relaxed), &[]))
        .build();
    count
}

impl Cache {
    /// A cache at a revision that knows no customer and holds at most about `limit_bytes` of them.
    pub(crate) fn new(head: Revision, stocks: HashMap<GameId, Stock>, limit_bytes: u64) -> Self {
        let items = usize::try_from(limit_bytes / CUSTOMER_BYTES_EXPECTED).unwrap_or(usize::MAX).max(1);
        let customers = ByUse::with_weighter(items, limit_bytes, ByBytes);
        Self {
            inner: Mutex::new(Inner { head, customers, loading: HashMap::new(), stocks }),
            hits: lookups("gameshelf.arbiter.cache.hits", "Reads of a customer that the cache knew."),
            misses: lookups(
                "gameshelf.arbiter.cache.misses",
                "Reads of a customer that the cache did not know.",
            ),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision that is on the disk.
    pub(crate) fn head(&self) -> Revision {
        self.inner().head
    }

    /// The newest revision, and the games of a customer at it if they are known.
    pub(crate) fn customer(&self, customer_id: &CustomerId) -> (Revision, Option<Arc<CustomerGames>>) {
        let inner = self.inner();
        let games = inner.customers.get(customer_id).map(Arc::clone);
        let head = inner.head;
        drop(inner);
        let lookups = if games.is_some() { &self.hits } else { &self.misses };
        lookups.fetch_add(1, Ordering::Relaxed);
        (head, games)
    }

    /// The newest revision, and at it the games of those of the customers that are known.
    pub(crate) fn customers<'a>(
        &self,
        customers: impl Iterator<Item = &'a CustomerId>,
    ) -> (Revision, HashMap<&'a CustomerId, Arc<CustomerGames>>) {
        let inner = self.inner();
        let mut known = HashMap::new();
        for customer_id in customers {
            if !known.contains_key(customer_id)
                && let Some(games) = inner.customers.get(customer_id)
            {
                known.insert(customer_id, Arc::clone(games));
            }
        }
        (inner.head, known)
    }

    /// The newest revision, and the stock of a game at it.
    pub(crate) fn stock(&self, game_id: &GameId) -> (Revision, Option<Stock>) {
        let inner = self.inner();
        (inner.head, inner.stocks.get(game_id).cloned())
    }

    /// Begins to load a customer: the caller reads all of its games at the load's revision, and hands them to
    /// [`Load::finish`].
    pub(crate) fn begin_load(&self, customer_id: &CustomerId) -> Load<'_> {
        let mut inner = self.inner();
        inner.loading.entry(customer_id.clone()).or_default().loads += 1;
        Load { cache: self, customer_id: customer_id.clone(), at: inner.head }
    }

    /// Takes over what a batch did, once it is on the disk.
    pub(crate) fn publish(&self, head: Revision, effects: &Effects) {
        let mut inner = self.inner();
        for entitlement in effects.inserted.iter().chain(&effects.replaced) {
            inner.change(head, &entitlement.customer_id, |games| games.put(entitlement));
        }
        for (customer_id, game_id) in &effects.removed {
            inner.change(head, customer_id, |games| games.remove(game_id));
        }
        // What began and ended between two revisions of the batch is in none of these, and yet it was owned for a while.
        for ended in &effects.past {
            inner.change(head, &ended.entitlement.customer_id, |_| {});
        }
        for stock in &effects.stocks {
            inner.stocks.insert(stock.game_id.clone(), stock.clone());
        }
        inner.head = head;
    }

    /// Goes on from a revision whose commits are not at hand: no customer is known any more.
    pub(crate) fn restart(&self, head: Revision, stocks: HashMap<GameId, Stock>) {
        let mut inner = self.inner();
        inner.customers.clear();
        inner.loading.values_mut().for_each(|loading| loading.changed = true);
        inner.head = head;
        inner.stocks = stocks;
    }
}

impl Inner {
    fn change(&mut self, at: Revision, customer_id: &CustomerId, change: impl FnOnce(&mut CustomerGames)) {
        if let Some(loading) = self.loading.get_mut(customer_id) {
            loading.changed = true;
        }
        // Whoever reads the old list now keeps it; the guard weighs the new one when it is dropped.
        if let Some(mut games) = self.customers.peek_mut(customer_id) {
            let games = Arc::make_mut(&mut games);
            games.changed_at(at);
            change(games);
        }
    }
}

impl Load<'_> {
    /// Keeps the games, unless they changed since the load began. They are right at the load's revision either way.
    pub(crate) fn finish(self, games: Vec<Entitlement>) -> Arc<CustomerGames> {
        let games = Arc::new(CustomerGames::new(self.at, games));
        let mut inner = self.cache.inner();
        if inner.loading.get(&self.customer_id).is_some_and(|loading| !loading.changed) {
            inner.customers.insert(self.customer_id.clone(), Arc::clone(&games));
        }
        games
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let mut inner = self.cache.inner();
        if let Some(loading) = inner.loading.get_mut(&self.customer_id) {
            loading.loads -= 1;
            if loading.loads == 0 {
                inner.loading.remove(&self.customer_id);
            }
        }
    }
}
