//! What is granted is durable with the log, and is not written into its table at once: grants come in any order of customers, and each
//! would change a page of its own there. Rows wait here, ordered as the table is, and a sweep carries them over a few at a time:
//! those beside each other, which share pages. (O'Neil and others, "The Log-Structured Merge-Tree", 1996: the rolling merge.)
//!
//! A process that starts makes this anew from the log, after the revision up to which everything is carried over.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use opentelemetry::global;

use crate::domain::{Change, Commit, CustomerId, Entitlement, GameId, Key, Revision, Subject};
use crate::store::Batch;

/// A batch that has so many new rows for each of its customers writes them itself: they share pages without waiting for others.
const DENSE_ROWS_PER_CUSTOMER: usize = 4;
/// A batch carries over at most so many times the rows that it adds: it must not get long for what others left.
const CARRIED_PER_CHANGE: usize = 4;

/// A key, or the place before all games of a customer.
type Place = (CustomerId, Option<GameId>);

/// Entitlements that last, and that are in the log but not in their table.
#[derive(Debug)]
pub(super) struct Memtable {
    rows: BTreeMap<Place, Arc<Entitlement>>,
    limit_rows: usize,
    head: LogPlace,
    /// Up to here everything is in the table.
    flushed_to: LogPlace,
    sweep: Sweep,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogPlace {
    pub(super) revision: Revision,
    /// How many changes there are up to it, counted from some place on.
    changes: u64,
}

/// How far the table is swept.
#[derive(Clone, Debug)]
struct Sweep {
    /// The last row that it carried over; none at its beginning.
    after: Option<Place>,
    /// Where the log was when it began: at its end, everything up to here is in the table.
    began: LogPlace,
}

/// What a transaction carries over.
#[derive(Debug)]
pub(super) struct Flush {
    /// In the order of the table.
    pub(super) rows: Vec<Arc<Entitlement>>,
    /// Up to where everything is in the table with it.
    pub(super) flushed_to: LogPlace,
    sweep: Sweep,
}

/// What becomes of a batch's new entitlements, and what it carries over beside.
#[derive(Debug)]
pub(super) struct Plan {
    /// Those that stay here.
    pub(super) kept: Vec<Arc<Entitlement>>,
    /// Those that the table gets at once.
    pub(super) written: Vec<Arc<Entitlement>>,
    pub(super) flush: Flush,
}

/// How many rows wait, as it is exported when metrics are collected.
pub(super) fn observed() -> Arc<AtomicI64> {
    let rows = Arc::new(AtomicI64::new(0));
    let observed = Arc::clone(&rows);
    global::meter("gameshelf.arbiter")
        .i64_observable_up_down_counter("gameshelf.arbiter.memtable.rows")
        .with_description("Entitlements that are in the log and not in their table yet.")
        .with_unit("{row}")
        .with_callback(move |counter| counter.observe(observed.load(Ordering::Relaxed), &[]))
        .build();
    rows
}

fn place(one: &Entitlement) -> Place {
    (one.customer_id.clone(), Some(one.game_id.clone()))
}

fn place_of((customer_id, game_id): &Key) -> Place {
    (customer_id.clone(), Some(game_id.clone()))
}

/// Whether rows, which are in order, have few customers.
fn is_dense(rows: &[Arc<Entitlement>]) -> bool {
    let customers = rows.chunk_by(|one, other| one.customer_id == other.customer_id).count();
    rows.len() >= customers.saturating_mul(DENSE_ROWS_PER_CUSTOMER)
}

impl Memtable {
    /// An empty one that grows to about `limit_rows`, on a store whose newest revision is `head`.
    pub(super) fn new(limit_rows: usize, head: Revision, flushed_to: Revision) -> Self {
        let place = |revision| LogPlace { revision, changes: 0 };
        let sweep = Sweep { after: None, began: place(flushed_to) };
        Self { rows: BTreeMap::new(), limit_rows, head: place(head), flushed_to: place(flushed_to), sweep }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The newest revision.
    pub(super) fn head(&self) -> Revision {
        self.head.revision
    }

    /// Up to here everything is in the table.
    pub(super) fn flushed_to(&self) -> Revision {
        self.flushed_to.revision
    }

    /// Does what a commit of the log did. What it wrote into the table itself is to be dropped afterwards, by [`Memtable::forget`].
    pub(super) fn redo(&mut self, commit: &Commit) {
        self.head.changes += commit.changes.len() as u64;
        for change in &commit.changes {
            match change {
                Change::Granted { key, ends_at_ms: None, .. } => {
                    let entitlement = Entitlement {
                        customer_id: key.0.clone(),
                        game_id: key.1.clone(),
                        valid_from: commit.revision,
                        granted_at_ms: commit.committed_at_ms,
                        cause: Arc::clone(&commit.cause),
                        ends_at_ms: None,
                        from_stock: false,
                    };
                    self.rows.insert(place_of(key), Arc::new(entitlement));
                }
                Change::Granted { key, .. } | Change::Revoked { key, .. } => self.forget(key),
                Change::Reserved { .. } | Change::Released { .. } | Change::StockSet { .. } => {}
            }
        }
    }

    /// To be called once everything is redone: what the first sweep meets is all there is.
    pub(super) fn redone(&mut self) {
        self.sweep.began = self.head;
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.rows.remove(&place_of(key));
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.rows.values().map(|one| one.key()).collect()
    }

    /// What a batch is to write. None where it inserts what is here already: its key is not as new as the batch takes it for.
    pub(super) fn plan(&self, batch: &Batch) -> Option<Plan> {
        let effects = &batch.effects;
        if effects.inserted.iter().any(|one| self.rows.contains_key(&place(one))) {
            return None;
        }
        // The log does not say whether a grant took a copy from a stock. What ends by itself is looked for in the table by its end.
        let may_wait = self.limit_rows > 0 && !is_dense(&effects.inserted);
        let waits = |one: &Arc<Entitlement>| may_wait && one.ends_at_ms.is_none() && !one.from_stock;
        let (kept, written): (Vec<_>, Vec<_>) = effects.inserted.iter().cloned().partition(waits);
        let changes = batch.commits.iter().map(|commit| commit.changes.len()).sum();
        // Both are in order.
        let is_changed = |one: &Entitlement| {
            let key = one.key();
            effects.removed.binary_search(&key).is_ok()
                || effects.replaced.binary_search_by(|replaced| replaced.key().cmp(&key)).is_ok()
        };
        let mut flush = self.flush(self.rows_to_carry(changes));
        if !(effects.removed.is_empty() && effects.replaced.is_empty()) {
            flush.rows.retain(|one| !is_changed(one));
        }
        Some(Plan { kept, written, flush })
    }

    /// How many rows a batch carries over: as many as it adds when as many wait as may, and fewer when fewer wait. What a new process
    /// has to redo is bounded the same way.
    fn rows_to_carry(&self, changes: usize) -> usize {
        let to_redo = (self.head.changes - self.flushed_to.changes) / 2;
        let to_redo = usize::try_from(to_redo).unwrap_or(usize::MAX);
        let waiting = self.rows.len().max(to_redo);
        changes.saturating_mul(waiting).div_ceil(self.limit_rows.max(1)).min(changes * CARRIED_PER_CHANGE)
    }

    /// The next rows of the sweep, at most `limit`.
    pub(super) fn flush(&self, limit: usize) -> Flush {
        let sweep = self.sweep.clone();
        if limit == 0 {
            return Flush { rows: Vec::new(), flushed_to: self.flushed_to, sweep };
        }
        let begin = sweep.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((begin, Bound::Unbounded)).take(limit);
        let rows: Vec<_> = rows.map(|(_, one)| Arc::clone(one)).collect();
        match rows.last() {
            Some(last) if rows.len() == limit => {
                let sweep = Sweep { after: Some(place(last)), ..sweep };
                Flush { rows, flushed_to: self.flushed_to, sweep }
            }
            // The end of the sweep; the next one takes on what is here now.
            _ => Flush { rows, flushed_to: sweep.began, sweep: Sweep { after: None, began: self.head } },
        }
    }

    /// Takes over what a transaction carried over, once it is on the disk.
    pub(super) fn flushed(&mut self, flush: Flush) {
        for one in &flush.rows {
            self.rows.remove(&place(one));
        }
        (self.flushed_to, self.sweep) = (flush.flushed_to, flush.sweep);
    }

    /// Takes over what a batch did, once it is on the disk.
    pub(super) fn committed(&mut self, plan: Plan, batch: &Batch) {
        self.flushed(plan.flush);
        for key in &batch.effects.removed {
            self.forget(key);
        }
        for one in &batch.effects.replaced {
            self.rows.remove(&place(one));
        }
        self.rows.extend(plan.kept.into_iter().map(|one| (place(&one), one)));
        for commit in &batch.commits {
            self.head.revision = commit.revision;
            self.head.changes += commit.changes.len() as u64;
        }
    }

    /// The entitlement of a key, if it is here and began by a revision.
    pub(super) fn get(&self, at: Revision, key: &Key) -> Option<Entitlement> {
        self.rows.get(&place_of(key)).filter(|one| one.valid_from <= at).map(|one| (**one).clone())
    }

    /// At most `limit` entitlements of a customer that are here and began by a revision, ordered by game, those after `after`.
    pub(super) fn list(
        &self,
        at: Revision,
        customer_id: &CustomerId,
        after: Option<&GameId>,
        limit: usize,
    ) -> Vec<Entitlement> {
        let rows = self.after(Bound::Excluded((customer_id.clone(), after.cloned())));
        let rows = rows.take_while(|one| one.customer_id == *customer_id).filter(|one| one.valid_from <= at);
        rows.take(limit).cloned().collect()
    }

    /// At most `limit` entitlements that are here and began by a revision, ordered by customer and game, those after `after`.
    pub(super) fn page(&self, at: Revision, after: Option<&Key>, limit: usize) -> Vec<Entitlement> {
        let rows = self.after(after.map_or(Bound::Unbounded, |after| Bound::Excluded(place_of(after))));
        rows.filter(|one| one.valid_from <= at).take(limit).cloned().collect()
    }

    /// The entitlements of a subject that are here and began by a revision, ordered by game.
    pub(super) fn of(&self, at: Revision, (customer_id, game_id): &Subject) -> Vec<Entitlement> {
        match game_id {
            Some(game_id) => self.get(at, &(customer_id.clone(), game_id.clone())).into_iter().collect(),
            None => self.list(at, customer_id, None, usize::MAX),
        }
    }

    fn after(&self, place: Bound<Place>) -> impl Iterator<Item = &Entitlement> {
        self.rows.range((place, Bound::Unbounded)).map(|(_, one)| &**one)
    }
}
