//! One reader's way through a snapshot and the log, however it is told: by a stream or by polls.

use std::sync::Arc;

use super::filter::Filter;
use super::hub::NarrowReader;
use super::source::Source;
use super::{Event, WatchError, WatchLimits};
use crate::domain::{CustomerId, Entitlement, GameId, Key, Revision};

/// How far a reader has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// In the state at a revision, after a customer and game.
    Snapshot { at: Revision, after: Option<Key> },
    /// At the end of the state at a revision, which is not told yet.
    SnapshotEnd { at: Revision },
    /// In the log, after a revision.
    Tail { after: Revision },
    /// Before the oldest commit that is kept, whichever that is when it is read.
    Earliest,
}

/// What one step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// There is something to tell.
    Event(Event),
    /// The reader came further, and there was nothing to tell.
    Moved,
    /// Nothing is to be read.
    AtHead,
}

/// A part of a snapshot as it is read.
struct Page {
    entitlements: Vec<Entitlement>,
    /// Where the next one begins; none where this was the last.
    next: Option<Key>,
}

/// One reader's way.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) source: Arc<Source>,
    filter: Filter,
    limits: WatchLimits,
    position: Position,
    /// Where only few customers are watched.
    narrow: Option<Arc<NarrowReader>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(narrow) = &self.narrow {
            self.source.hub.forget(narrow);
        }
    }
}

impl Engine {
    pub(super) fn new(source: Arc<Source>, limits: WatchLimits, filter: Filter, position: Position) -> Self {
        Self { source, filter, limits, position, narrow: None }
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// The revision up to which nothing is still to come, where there is one.
    pub(super) fn reached(&self) -> Option<Revision> {
        match self.position {
            Position::Tail { after } => Some(after),
            Position::Snapshot { .. } | Position::SnapshotEnd { .. } | Position::Earliest => None,
        }
    }

    /// The revision of the snapshot that is being read.
    pub(super) fn snapshot_at(&self) -> Option<Revision> {
        match self.position {
            Position::Snapshot { at, .. } | Position::SnapshotEnd { at } => Some(at),
            Position::Tail { .. } | Position::Earliest => None,
        }
    }

    /// Goes on by one bounded step.
    pub(super) async fn step(&mut self) -> Result<Step, WatchError> {
        match self.position.clone() {
            Position::Snapshot { at, after } => self.snapshot(at, after).await,
            Position::SnapshotEnd { at } => {
                self.position = Position::Tail { after: at };
                Ok(Step::Event(Event::SnapshotEnd { revision: at }))
            }
            Position::Tail { after } => self.tail(after).await,
            Position::Earliest => self.earliest().await,
        }
    }

    /// Waits until there may be something to read.
    pub(super) async fn woken(
        &self,
        head: &mut tokio::sync::watch::Receiver<Revision>,
    ) -> Result<(), WatchError> {
        match &self.narrow {
            Some(narrow) => narrow.woken().await,
            None => head.changed().await.map_err(|_| WatchError::Draining)?,
        }
        Ok(())
    }

    async fn snapshot(&mut self, at: Revision, after: Option<Key>) -> Result<Step, WatchError> {
        // What comes after the snapshot must still be there when it ends.
        self.source.check_kept(at)?;
        let page = if self.filter.customers.is_empty() {
            self.page_of_all(at, after).await?
        } else {
            self.page_of_customers(at, after).await?
        };
        self.position = match page.next {
            Some(key) => Position::Snapshot { at, after: Some(key) },
            None => Position::SnapshotEnd { at },
        };
        let mut entitlements = page.entitlements;
        entitlements.retain(|one| self.filter.passes_entitlement(one));
        if entitlements.is_empty() {
            return Ok(Step::Moved);
        }
        Ok(Step::Event(Event::SnapshotChunk { revision: at, entitlements }))
    }

    async fn page_of_all(&self, at: Revision, after: Option<Key>) -> Result<Page, WatchError> {
        let limit = self.limits.snapshot_chunk;
        let entitlements = self.source.store.snapshot(at, after.as_ref(), limit).await?;
        let is_full = entitlements.len() >= limit as usize;
        let next = entitlements.last().filter(|_| is_full).map(Entitlement::key);
        Ok(Page { entitlements, next })
    }

    /// Reads customer by customer, in the order of the snapshot of all.
    async fn page_of_customers(&self, at: Revision, after: Option<Key>) -> Result<Page, WatchError> {
        let limit = self.limits.snapshot_chunk as usize;
        let mut entitlements: Vec<Entitlement> = Vec::new();
        for customer_id in &self.filter.customers {
            let game_id = match &after {
                Some((begun, _)) if customer_id < begun => continue,
                Some((begun, game_id)) if customer_id == begun => Some(game_id),
                _ => None,
            };
            entitlements.extend(self.games(at, customer_id, game_id, limit - entitlements.len()).await?);
            if entitlements.len() >= limit {
                let next = entitlements.last().map(Entitlement::key);
                return Ok(Page { entitlements, next });
            }
        }
        Ok(Page { entitlements, next: None })
    }

    async fn games(
        &self,
        at: Revision,
        customer_id: &CustomerId,
        after: Option<&GameId>,
        limit: usize,
    ) -> Result<Vec<Entitlement>, WatchError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Ok(self.source.store.list(at, customer_id, after, limit).await?)
    }

    /// Begins at the mark, again and again where that rises before the first commit is read.
    async fn earliest(&mut self) -> Result<Step, WatchError> {
        let mark = self.source.hub.mark();
        self.position = Position::Tail { after: mark };
        let step = self.tail(mark).await;
        if let Err(WatchError::Compacted { .. }) = step {
            self.position = Position::Earliest;
            return Ok(Step::Moved);
        }
        step
    }

    async fn tail(&mut self, after: Revision) -> Result<Step, WatchError> {
        let (head, from) = self.unread(after);
        if head <= after {
            return Ok(Step::AtHead);
        }
        if from >= head {
            // Nothing up to the head concerns this reader.
            self.position = Position::Tail { after: head };
            return Ok(Step::Moved);
        }
        let parts = self.source.after(from, self.limits.message_bytes).await?;
        let reached = parts.last().map_or(from, super::Part::last);
        self.position = Position::Tail { after: reached };
        if let Some(narrow) = &self.narrow {
            self.source.hub.has_read(narrow, reached);
        }
        let parts = self.filter.narrow(parts);
        Ok(if parts.is_empty() { Step::Moved } else { Step::Event(Event::Commits(parts)) })
    }

    /// The head, and the revision after which there is something to read.
    fn unread(&mut self, after: Revision) -> (Revision, Revision) {
        let hub = &self.source.hub;
        if self.filter.customers.is_empty() {
            return (hub.head(), after);
        }
        // Registered once the log is reached: what comes from then on is told, and what came before is to be read.
        let customers = &self.filter.customers;
        let narrow = self.narrow.get_or_insert_with(|| hub.register(customers.iter().cloned(), after));
        let (head, unread) = hub.unread(narrow);
        let from = unread.map_or(head, |unread| after.max(unread.saturating_sub(1)));
        (head, from)
    }
}
