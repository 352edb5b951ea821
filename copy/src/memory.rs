//! A copy in memory.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gameshelf::digest;
use gameshelf::tokens::Token;

use crate::model::{Batch, Row};
use crate::target::Target;

/// By customer and by game, the revision since which it is owned.
type Games = HashMap<String, BTreeMap<String, u64>>;

#[derive(Debug, Default)]
struct Inner {
    checkpoint: Option<Token>,
    games: Games,
    staged: Games,
}

/// Keeps the rows in memory: for a service that can wait for a snapshot at each start.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inner>);

impl Memory {
    /// The games of a customer, each with the revision since which it is owned, and what the copy shows; none before the first
    /// snapshot was complete.
    #[must_use]
    pub fn games(&self, customer_id: &str) -> Option<(Token, BTreeMap<String, u64>)> {
        let inner = self.inner();
        Some((inner.checkpoint?, inner.games.get(customer_id).cloned().unwrap_or_default()))
    }

    // Every change under the lock is complete before anything can panic, so a poisoned lock holds good data.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(games: &mut Games, rows: Vec<Row>) {
    for row in rows {
        games.entry(row.customer_id).or_default().insert(row.game_id, row.since_revision);
    }
}

impl Target for Memory {
    type Error = Infallible;

    async fn checkpoint(&self) -> Result<Option<Token>, Infallible> {
        Ok(self.inner().checkpoint)
    }

    async fn begin(&self) -> Result<(), Infallible> {
        self.inner().staged.clear();
        Ok(())
    }

    async fn stage(&self, rows: Vec<Row>) -> Result<(), Infallible> {
        put(&mut self.inner().staged, rows);
        Ok(())
    }

    async fn swap(&self, checkpoint: Token) -> Result<(), Infallible> {
        let mut inner = self.inner();
        inner.games = std::mem::take(&mut inner.staged);
        inner.checkpoint = Some(checkpoint);
        Ok(())
    }

    async fn apply(&self, batch: &Batch<'_>) -> Result<Vec<Row>, Infallible> {
        let mut inner = self.inner();
        inner.checkpoint = Some(batch.to);
        let before = batch.net.iter().filter_map(|change| {
            let games = inner.games.entry(change.customer_id.to_owned()).or_default();
            let since = match change.since_revision {
                Some(since) => games.insert(change.game_id.to_owned(), since),
                None => games.remove(change.game_id),
            };
            since.map(|since| Row::new(change.customer_id.to_owned(), change.game_id.to_owned(), since))
        });
        Ok(before.collect())
    }

    async fn rows(&self, partition: u8) -> Result<Vec<Row>, Infallible> {
        let inner = self.inner();
        let customers =
            inner.games.iter().filter(|(customer_id, _)| digest::partition(customer_id) == partition);
        let rows = customers.flat_map(|(customer_id, games)| {
            games.iter().map(|(game_id, since)| Row::new(customer_id.clone(), game_id.clone(), *since))
        });
        Ok(rows.collect())
    }

    async fn replace(&self, partition: u8, _: Token, rows: Vec<Row>) -> Result<(), Infallible> {
        let mut inner = self.inner();
        inner.games.retain(|customer_id, _| digest::partition(customer_id) != partition);
        put(&mut inner.games, rows);
        Ok(())
    }
}
