//! Gathers what a batch has to know: from the cache, and from the store what the cache does not have.
//!
//! Most batches are grants of games that nobody owns yet under request ids that nobody used yet. They are decided on that
//! assumption without a look at the store: writing them proves it, since the keys of both tables are unique, and where it is
//! wrong the transaction fails as a whole and the batch is decided again on what the store says.

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::{Item, OwnItem};
use crate::cache::Cache;
use crate::domain::{CustomerId, GameId, Key, Needs, RequestId, State, Stock};
use crate::store::{SharedStore, StoreError, StoredRequest};

/// How much is looked up before a batch is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Only the cache is; what it does not know is assumed to be absent.
    AtCache,
    /// The store is asked for everything that the cache does not know.
    AtStore,
}

/// Where knowledge comes from.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) store: &'a SharedStore,
    pub(super) cache: &'a Cache,
    pub(super) stocks: &'a HashMap<GameId, Stock>,
}

/// What a batch depends on.
pub(super) fn needs(own: &[OwnItem], items: &[Item<'_>]) -> Needs {
    let mut needs = Needs::default();
    let commands = own.iter().map(|item| &item.command).chain(items.iter().map(|item| item.command));
    for command in commands {
        needs.add(command);
    }
    needs
}

impl<'a> Sources<'a> {
    /// The state before a batch as far as the cache knows it; what it does not know is assumed to be absent.
    pub(super) fn assume(&self, needs: &Needs) -> State<'a> {
        let mut state = State::new(self.stocks);
        self.know_cached(&mut state, needs);
        state
    }

    /// The state before a batch, and the outcomes of those of its requests that were decided before.
    pub(super) async fn gather(
        &self,
        mut needs: Needs,
        request_ids: &[RequestId],
    ) -> Result<(State<'a>, Vec<StoredRequest>), StoreError> {
        let mut state = State::new(self.stocks);
        self.gather_reservations(&mut state, &mut needs).await?;
        for subject in &needs.last_changes {
            state.know_last_change(subject.clone(), self.store.last_change(subject).await?);
        }
        let unknown = self.know_cached(&mut state, &needs);
        let loaded = self.store.load(request_ids, &unknown).await?;
        let mut found: HashMap<Key, _> =
            loaded.entitlements.into_iter().map(|one| (one.key(), Arc::new(one))).collect();
        for key in unknown {
            let entitlement = found.remove(&key);
            state.know(key, entitlement);
        }
        Ok((state, loaded.requests))
    }

    async fn gather_reservations(&self, state: &mut State<'_>, needs: &mut Needs) -> Result<(), StoreError> {
        if needs.reservations.is_empty() && needs.reserving.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = needs.reservations.iter().copied().collect();
        let customers: Vec<CustomerId> = needs.reserving.iter().cloned().collect();
        for reservation in self.store.reservations(&ids, &customers).await? {
            needs.keys.insert(reservation.key());
            state.know_reservation(reservation);
        }
        for customer_id in &customers {
            state.know_open(customer_id);
        }
        Ok(())
    }

    /// Makes known what the cache has, and returns the keys that it does not have.
    fn know_cached(&self, state: &mut State<'_>, needs: &Needs) -> Vec<Key> {
        let (_, cached) = self.cache.customers(needs.keys.iter().map(|(customer_id, _)| customer_id));
        let mut unknown = Vec::new();
        for key in &needs.keys {
            match cached.get(&key.0) {
                Some(games) => state.know(key.clone(), games.get(&key.1).cloned()),
                None => unknown.push(key.clone()),
            }
        }
        unknown
    }
}
