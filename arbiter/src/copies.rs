//! Who holds copies of what is owned: what they report of themselves, and how far each is behind.
//!
//! It is kept in memory. [`keep`] writes it to the store beside the writer, so that a copy that is away is still listed by the next
//! process.

mod heads;
mod keep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gameshelf::ids::CopyName;
use mesh::environment::Clock;

use heads::Heads;
pub(crate) use keep::keep;

use crate::domain::Revision;
use crate::store::CopyRow;

/// How often it is written that a copy still has its stream.
const SEEN_AGAIN_MS: u64 = 60_000;

/// The limits of copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyLimits {
    /// The most copies that are known.
    pub(crate) copies: usize,
    /// How long a copy that is not seen any more is listed, in milliseconds.
    pub(crate) forget_after_ms: u64,
    /// The time between two reports of a copy, and between two writes to the store, in milliseconds.
    pub(crate) interval_ms: u64,
}

/// As many copies are known as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {limit} copies may be known, and so many are")]
pub(crate) struct TooManyCopies {
    pub(crate) limit: usize,
}

/// What a copy tells of itself.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) name: CopyName,
    pub(crate) version: String,
    /// What it shows; 0 while it has no state.
    pub(crate) revision: Revision,
    /// As on the wire; it is only told on.
    pub(crate) digest_state: i32,
    pub(crate) repaired_partitions: u64,
}

/// Whether trimming the log cuts a copy off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimRisk {
    None,
    Soon,
    CutOff,
}

/// A copy as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) row: CopyRow,
    pub(crate) revisions_behind: u64,
    /// How long ago, at most, what it shows was the newest state; none where that is not known.
    pub(crate) behind: Option<Duration>,
    pub(crate) unseen: Duration,
    pub(crate) connected: bool,
    pub(crate) trim_risk: TrimRisk,
}

/// The copies that are known.
#[derive(Debug)]
pub(crate) struct Copies {
    known: Mutex<BTreeMap<CopyName, Known>>,
    heads: Mutex<Heads>,
    limits: CopyLimits,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Known {
    row: CopyRow,
    streams: usize,
    /// The store does not have it as it is.
    unwritten: bool,
}

impl Known {
    fn new(name: CopyName) -> Self {
        let row = CopyRow {
            name,
            version: String::new(),
            revision: 0,
            digest_state: 0,
            repaired_partitions: 0,
            last_seen_ms: 0,
        };
        Self { row, streams: 0, unwritten: true }
    }

    fn seen(&mut self, now_ms: u64) {
        self.row.last_seen_ms = now_ms;
        self.unwritten = true;
    }
}

impl Copies {
    /// The copies that the store remembers, beside an arbiter that is at a revision.
    pub(crate) fn new(
        remembered: Vec<CopyRow>,
        head: Revision,
        limits: CopyLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let known = remembered.into_iter().map(|row| {
            let known = Known { unwritten: false, ..Known::new(row.name.clone()) };
            (row.name.clone(), Known { row, ..known })
        });
        let heads = Heads::new(head, clock.since_boot());
        Self { known: Mutex::new(known.collect()), heads: Mutex::new(heads), limits, clock }
    }

    pub(crate) fn limits(&self) -> &CopyLimits {
        &self.limits
    }

    /// The time of day, by which copies were seen.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<CopyName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a copy, which may be a new one.
    fn change(&self, name: &CopyName, change: impl FnOnce(&mut Known)) -> Result<(), TooManyCopies> {
        let now_ms = self.clock.unix_ms();
        let mut known = self.known();
        if !known.contains_key(name) && known.len() >= self.limits.copies {
            self.forget(&mut known, now_ms);
            if known.len() >= self.limits.copies {
                return Err(TooManyCopies { limit: self.limits.copies });
            }
        }
        let one = known.entry(name.clone()).or_insert_with(|| Known::new(name.clone()));
        one.seen(now_ms);
        change(one);
        Ok(())
    }

    /// Takes what a copy reports.
    pub(crate) fn report(&self, report: Report) -> Result<(), TooManyCopies> {
        let Report { name, version, revision, digest_state, repaired_partitions } = report;
        self.change(&name, |known| {
            known.row = CopyRow { version, revision, digest_state, repaired_partitions, ..known.row.clone() };
        })
    }

    /// Notes that a copy has a stream, as long as what is returned lives.
    pub(crate) fn connected(self: &Arc<Self>, name: CopyName) -> Result<Connected, TooManyCopies> {
        self.change(&name, |known| known.streams += 1)?;
        Ok(Connected { copies: Arc::clone(self), name })
    }

    /// Notes that a copy was heard of: it polled.
    pub(crate) fn seen(&self, name: &CopyName) -> Result<(), TooManyCopies> {
        self.change(name, |_| {})
    }

    /// Notes what is the newest revision now. Called now and then: how far copies are behind is known as exactly as that.
    pub(crate) fn observe_head(&self, head: Revision) {
        self.heads().observe(head, self.clock.since_boot());
    }

    /// All copies by name. `oldest_resumable` is the oldest revision after which the log is whole.
    pub(crate) fn list(&self, head: Revision, oldest_resumable: Revision) -> Vec<Listed> {
        let (now_ms, since_boot) = (self.clock.unix_ms(), self.clock.since_boot());
        let (known, heads) = (self.known(), self.heads());
        let listed = known.values().map(|one| {
            let mut row = one.row.clone();
            let connected = one.streams > 0;
            if connected {
                row.last_seen_ms = now_ms;
            }
            // A copy may have heard of a revision that is not acknowledged here yet.
            let revisions_behind = head.saturating_sub(row.revision);
            let behind = match revisions_behind {
                0 => Some(Duration::ZERO),
                _ => heads.last_at_most(row.revision).map(|at| since_boot.saturating_sub(at)),
            };
            let unseen = Duration::from_millis(now_ms.saturating_sub(row.last_seen_ms));
            let trim_risk = trim_risk(row.revision, oldest_resumable, head);
            Listed { row, revisions_behind, behind, unseen, connected, trim_risk }
        });
        listed.collect()
    }

    /// Drops copies that were not seen for long.
    fn forget(&self, known: &mut BTreeMap<CopyName, Known>, now_ms: u64) {
        let before_ms = now_ms.saturating_sub(self.limits.forget_after_ms);
        known.retain(|_, one| one.streams > 0 || one.row.last_seen_ms >= before_ms);
    }

    /// What the store is to be told: rows that it does not have, and the time before which it forgets all others.
    fn take_unwritten(&self) -> (Vec<CopyRow>, u64) {
        let now_ms = self.clock.unix_ms();
        let mut known = self.known();
        // Whoever has a stream is seen all the time, which need not be written each time.
        let is_old = |one: &Known| now_ms.saturating_sub(one.row.last_seen_ms) >= SEEN_AGAIN_MS;
        for one in known.values_mut().filter(|one| one.streams > 0 && is_old(one)) {
            one.seen(now_ms);
        }
        self.forget(&mut known, now_ms);
        let unwritten = known.values_mut().filter(|one| one.unwritten);
        let rows = unwritten.map(|one| {
            one.unwritten = false;
            one.row.clone()
        });
        let rows = rows.collect();
        (rows, now_ms.saturating_sub(self.limits.forget_after_ms))
    }

    /// The store did not take these.
    fn give_back_unwritten(&self, rows: &[CopyRow]) {
        let mut known = self.known();
        for row in rows {
            if let Some(one) = known.get_mut(&row.name) {
                one.unwritten = true;
            }
        }
    }
}

/// Whether what a copy at a revision needs next is about to be trimmed: soon, when it stands in the oldest tenth of what is kept of a
/// log that was trimmed before. One without a state begins with a snapshot, whatever is trimmed.
fn trim_risk(revision: Revision, oldest_resumable: Revision, head: Revision) -> TrimRisk {
    if revision == 0 || oldest_resumable == 0 {
        return TrimRisk::None;
    }
    match revision.checked_sub(oldest_resumable) {
        None => TrimRisk::CutOff,
        Some(_) if revision >= head => TrimRisk::None,
        Some(ahead) if ahead < (head - oldest_resumable).div_ceil(10) => TrimRisk::Soon,
        Some(_) => TrimRisk::None,
    }
}

/// A copy has a stream as long as this lives.
#[derive(Debug)]
pub(crate) struct Connected {
    copies: Arc<Copies>,
    name: CopyName,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let now_ms = self.copies.clock.unix_ms();
        if let Some(one) = self.copies.known().get_mut(&self.name) {
            one.streams = one.streams.saturating_sub(1);
            one.seen(now_ms);
        }
    }
}
