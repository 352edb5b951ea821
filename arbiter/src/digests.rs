//! The digests of everything that is owned, in memory: kept by the only writer, and found again by a new process in the store's
//! checkpoint and the log after it.

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use gameshelf::digest::Digests;

use crate::domain::{Commit, Revision, Sums};
use crate::store::{Store, StoreError};

/// How many batches of the log, or entitlements of the table, are read in one statement.
const LOG_BATCHES: u32 = 16;
const PAGE: u32 = 2_000;

/// What everything adds up to as of the newest commit.
#[derive(Debug)]
pub(crate) struct LiveDigests {
    live: Mutex<Live>,
    /// The most changes that a new process has to fold after a checkpoint.
    checkpoint_changes: u64,
}

#[derive(Debug)]
struct Live {
    sums: Sums,
    /// The revision of the checkpoint in the store; 0 without one.
    checkpoint: Revision,
    /// How many changes there were since.
    changes: u64,
}

/// The digests that the store's checkpoint and log add up to.
#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    pub(crate) sums: Sums,
    /// The revision of the checkpoint; 0 without one.
    pub(crate) checkpoint: Revision,
    /// How many changes were folded after it.
    pub(crate) changes: u64,
}

#[cfg(test)]
impl Default for LiveDigests {
    /// Those of an empty store.
    fn default() -> Self {
        Self::new(Recovered { sums: Sums::default(), checkpoint: 0, changes: 0 }, u64::MAX)
    }
}

impl LiveDigests {
    /// Goes on from what was recovered. A checkpoint is due after so many changes.
    pub(crate) fn new(recovered: Recovered, checkpoint_changes: u64) -> Self {
        let Recovered { sums, checkpoint, changes } = recovered;
        Self { live: Mutex::new(Live { sums, checkpoint, changes }), checkpoint_changes }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digests and numbers of rows as of the newest commit on the disk.
    pub(crate) fn sums(&self) -> Sums {
        self.live().sums.clone()
    }

    /// The row digests at a revision, where that is the newest one. They are copied only for who asks.
    pub(crate) fn rows_at(&self, revision: Revision) -> Option<Digests> {
        let live = self.live();
        (live.sums.revision == revision).then(|| live.sums.rows.clone())
    }

    /// The revision of the checkpoint in the store: the log after it must be kept, or a new process reads the whole table.
    pub(crate) fn checkpoint_revision(&self) -> Revision {
        self.live().checkpoint
    }

    /// What to write as a checkpoint with a batch of these commits, where one is due, or is asked for and there is anything new.
    pub(crate) fn due_checkpoint(&self, commits: &[Commit], is_asked_for: bool) -> Option<Sums> {
        let live = self.live();
        let changes = live.changes.saturating_add(changes_of(commits));
        if changes < self.checkpoint_changes && !(is_asked_for && changes > 0) {
            return None;
        }
        let mut sums = live.sums.clone();
        drop(live);
        for commit in commits {
            sums.follow(commit);
        }
        Some(sums)
    }

    /// Goes on by commits that are on the disk. `checkpoint` is the revision of the one that was written with them.
    pub(crate) fn follow(&self, commits: &[Commit], checkpoint: Option<Revision>) {
        let mut live = self.live();
        for commit in commits {
            live.sums.follow(commit);
        }
        live.changes = live.changes.saturating_add(changes_of(commits));
        if let Some(revision) = checkpoint {
            (live.checkpoint, live.changes) = (revision, 0);
        }
    }

    /// Goes on to a revision that was committed while nobody heard of it: what is new is in the store's log.
    pub(crate) async fn catch_up(&self, store: &dyn Store, head: Revision) -> Result<(), StoreError> {
        let known = self.sums();
        if known.revision == head {
            return Ok(());
        }
        // Whether a checkpoint was written with it is not known; the older one is right, too.
        let (sums, changes) = fold(store, known, head).await?;
        let mut live = self.live();
        live.sums = sums;
        live.changes = live.changes.saturating_add(changes);
        Ok(())
    }
}

fn changes_of(commits: &[Commit]) -> u64 {
    commits.iter().map(|commit| commit.changes.len() as u64).sum()
}

/// What everything adds up to at the head, which nobody moves meanwhile: the checkpoint, and the log after it.
pub(crate) async fn recover(store: &dyn Store, head: Revision) -> Result<Recovered, StoreError> {
    let checkpoint = store.digest_checkpoint().await?.filter(|sums| sums.revision <= head);
    let from = checkpoint.unwrap_or_default();
    let checkpoint = from.revision;
    let (sums, changes) = fold(store, from, head).await?;
    Ok(Recovered { sums, checkpoint, changes })
}

/// Folds the log up to a revision. Where it does not reach back far enough, the table of what is present is read instead; then as
/// many changes are told as make a checkpoint due.
async fn fold(store: &dyn Store, from: Sums, head: Revision) -> Result<(Sums, u64), StoreError> {
    let (mut sums, mut changes) = (from, 0);
    while sums.revision < head {
        let commits = store.log(sums.revision, LOG_BATCHES).await?;
        if commits.first().is_none_or(|first| first.revision != sums.revision + 1) {
            tracing::warn!(
                after = sums.revision,
                head,
                "the log does not reach back to the digests; they are made anew"
            );
            return Ok((scan(store, head).await?, u64::MAX / 2));
        }
        let commits: Vec<Commit> = commits.into_iter().filter(|commit| commit.revision <= head).collect();
        for commit in &commits {
            sums.follow(commit);
        }
        changes += changes_of(&commits);
    }
    Ok((sums, changes))
}

/// Adds up the table of what is present, in pages.
async fn scan(store: &dyn Store, head: Revision) -> Result<Sums, StoreError> {
    let mut sums = Sums { revision: head, ..Sums::default() };
    let mut after = None;
    loop {
        let page = store.snapshot(head, after.as_ref(), PAGE).await?;
        for one in &page {
            sums.add_present(one);
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.key()),
            _ => return Ok(sums),
        }
    }
}
