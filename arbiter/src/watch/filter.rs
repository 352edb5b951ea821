//! What a reader is told of.

use std::collections::BTreeSet;
use std::sync::Arc;

use gameshelf::digest::partition;

use super::batch::{Batch, Part};
use crate::domain::{Change, Commit, CustomerId, Entitlement, GameId};

/// Narrows what a reader is told of: each set that is not empty must have a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) customers: BTreeSet<CustomerId>,
    pub(crate) games: BTreeSet<GameId>,
    pub(crate) partitions: BTreeSet<u8>,
}

impl Filter {
    /// Whether it leaves nothing out.
    pub(crate) fn is_all(&self) -> bool {
        self.customers.is_empty() && self.games.is_empty() && self.partitions.is_empty()
    }

    /// Whether a customer passes; what concerns nobody passes only where customers do not count.
    fn passes(&self, customer_id: Option<&CustomerId>, game_id: &GameId) -> bool {
        let of = |is_empty: bool, has: &dyn Fn(&CustomerId) -> bool| is_empty || customer_id.is_some_and(has);
        of(self.customers.is_empty(), &|customer_id| self.customers.contains(customer_id))
            && (self.games.is_empty() || self.games.contains(game_id))
            && of(self.partitions.is_empty(), &|customer_id| {
                self.partitions.contains(&partition(customer_id.as_str()))
            })
    }

    /// Whether a change is told.
    fn passes_change(&self, change: &Change) -> bool {
        self.passes(change.customer_id(), change.game_id())
    }

    /// Whether an entitlement is told.
    pub(super) fn passes_entitlement(&self, entitlement: &Entitlement) -> bool {
        self.passes(Some(&entitlement.customer_id), &entitlement.game_id)
    }

    /// What is told of some commits: those with a change that is told, with such changes alone. None where nothing is.
    pub(super) fn narrow(&self, parts: Vec<Part>) -> Vec<Part> {
        if self.is_all() {
            return parts;
        }
        let commits = parts.iter().flat_map(Part::commits).filter_map(|commit| self.narrow_commit(commit));
        let batch = Batch::new(commits.collect());
        batch.and_then(|batch| batch.after(0, usize::MAX)).into_iter().collect()
    }

    fn narrow_commit(&self, commit: &Arc<Commit>) -> Option<Arc<Commit>> {
        let passing = commit.changes.iter().filter(|change| self.passes_change(change)).count();
        if passing == commit.changes.len() {
            return Some(Arc::clone(commit));
        }
        (passing > 0).then(|| {
            let changes = commit.changes.iter().filter(|change| self.passes_change(change));
            Arc::new(Commit {
                changes: changes.cloned().collect(),
                cause: Arc::clone(&commit.cause),
                traceparent: commit.traceparent.clone(),
                ..**commit
            })
        })
    }
}
