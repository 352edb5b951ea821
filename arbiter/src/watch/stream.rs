//! One stream of Watch: snapshot, marker, then every later commit, with bookmarks in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::digested::Digested;
use super::engine::{Engine, Position, Step};
use super::readers::{Readers, Registration};
use super::source::Source;
use super::{Event, Hub, Start, Subscription, WatchError, WatchLimits};
use crate::digests::LiveDigests;
use crate::domain::Revision;
use crate::store::SharedStore;

/// Opens streams and answers polls.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    pub(super) source: Arc<Source>,
    pub(super) limits: WatchLimits,
    pub(super) readers: Arc<Readers>,
    pub(super) digests: Arc<LiveDigests>,
    pub(super) draining: CancellationToken,
}

impl Watches {
    /// Opens streams over a store and its hub, until `draining` is cancelled.
    pub(crate) fn new(
        store: SharedStore,
        hub: Arc<Hub>,
        digests: Arc<LiveDigests>,
        limits: WatchLimits,
        draining: CancellationToken,
    ) -> Self {
        let source = Arc::new(Source::new(store, hub, limits.log_cache_bytes));
        let readers = Readers::new(limits);
        tokio::spawn(cut_off_slow(Arc::downgrade(&readers), limits));
        Self { source, limits, readers, digests, draining }
    }

    /// How many more streams may be opened now.
    #[cfg(test)]
    pub(super) fn open_slots(&self) -> usize {
        self.readers.open_slots()
    }

    /// Opens a stream. It ends with an error as its last item.
    ///
    /// # Errors
    ///
    /// [`WatchError::TooMany`], and [`WatchError::Compacted`] where the log begins later.
    pub(crate) fn open(&self, subscription: Subscription) -> Result<WatchStream, WatchError> {
        let slot = self.readers.slot()?;
        let position = self.position(subscription.start);
        let digested = subscription.with_digests.then(|| Digested::new(&self.digests, &subscription.filter));
        let engine = Engine::new(Arc::clone(&self.source), self.limits, subscription.filter, position);
        let told = engine.reached().unwrap_or_else(|| self.source.hub.mark());
        let registration = self.readers.register(slot, told, engine.snapshot_at());
        // Checked when it is noted: from then on what it needs is kept.
        if let Some(after) = engine.snapshot_at().or(engine.reached()) {
            self.source.check_kept(after)?;
        }
        Ok(WatchStream {
            engine,
            digested,
            registration,
            head: self.source.hub.subscribe(),
            interval: Duration::from_millis(self.limits.bookmark_interval_ms),
            next_bookmark: Instant::now() + Duration::from_millis(self.limits.bookmark_interval_ms),
            next_digests: Instant::now(),
            draining: self.draining.clone(),
            has_ended: false,
        })
    }

    /// Where a reader stands that begins.
    pub(super) fn position(&self, start: Start) -> Position {
        match start {
            Start::Snapshot { as_of } => {
                Position::Snapshot { at: as_of.unwrap_or_else(|| self.source.hub.head()), after: None }
            }
            Start::After(after) => Position::Tail { after },
            Start::Earliest => Position::Earliest,
        }
    }
}

/// Looks for slow readers for as long as there can be any.
async fn cut_off_slow(readers: std::sync::Weak<Readers>, limits: WatchLimits) {
    let pause = Duration::from_millis((limits.slow_reader_timeout_ms / 4).clamp(10, 1_000));
    loop {
        sleep(pause).await;
        let Some(readers) = readers.upgrade() else { return };
        readers.cut_off_slow();
    }
}

/// A stream that is open. It does nothing by itself: whoever reads it drives it, and is not read ahead for.
#[derive(Debug)]
pub(crate) struct WatchStream {
    engine: Engine,
    digested: Option<Digested>,
    registration: Registration,
    head: watch::Receiver<Revision>,
    interval: Duration,
    next_bookmark: Instant,
    /// Digests are told once in a while on a stream that is never idle, too.
    next_digests: Instant,
    draining: CancellationToken,
    has_ended: bool,
}

impl WatchStream {
    /// The next event; after the last one, once, why the stream ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, WatchError>> {
        if self.has_ended {
            return None;
        }
        let next = self.take_next().await;
        match &next {
            Ok(event) => self.registration.handed(told(event)),
            Err(_) => self.has_ended = true,
        }
        Some(next)
    }

    async fn take_next(&mut self) -> Result<Event, WatchError> {
        self.registration.taken()?;
        let draining = self.draining.clone();
        tokio::select! {
            biased;
            () = draining.cancelled() => Err(WatchError::Draining),
            event = self.advance() => event,
        }
    }

    /// What is told when there was nothing to tell for a while, also where commits flow, or a snapshot is read, of which this
    /// reader is told nothing.
    fn sign_of_life(&self) -> Option<Event> {
        if let Some(revision) = self.engine.reached() {
            return self.digests(revision).or(Some(Event::Bookmark { revision }));
        }
        let revision = self.engine.snapshot_at()?;
        Some(Event::SnapshotChunk { revision, entitlements: Vec::new() })
    }

    /// A bookmark with digests, where they are asked for and are known at the revision.
    fn digests(&self, revision: Revision) -> Option<Event> {
        self.digested.as_ref()?.at(revision)
    }

    async fn advance(&mut self) -> Result<Event, WatchError> {
        loop {
            let step = self.engine.step().await?;
            if let Step::Event(event) = step {
                self.next_bookmark = Instant::now() + self.interval;
                return Ok(event);
            }
            let now = Instant::now();
            if matches!(step, Step::AtHead)
                && now >= self.next_digests
                && let Some(event) = self.engine.reached().and_then(|revision| self.digests(revision))
            {
                (self.next_bookmark, self.next_digests) = (now + self.interval, now + self.interval);
                return Ok(event);
            }
            if now >= self.next_bookmark
                && let Some(event) = self.sign_of_life()
            {
                self.next_bookmark = Instant::now() + self.interval;
                return Ok(event);
            }
            match step {
                Step::AtHead => tokio::select! {
                    woken = self.engine.woken(&mut self.head) => woken?,
                    () = sleep_until(self.next_bookmark) => {}
                },
                // A step may be taken from memory alone: others are let on in between.
                Step::Moved | Step::Event(_) => tokio::task::consume_budget().await,
            }
        }
    }
}

/// The revision that an event tells of; none within a snapshot.
fn told(event: &Event) -> Option<Revision> {
    match event {
        Event::SnapshotChunk { .. } => None,
        Event::SnapshotEnd { revision } | Event::Bookmark { revision } | Event::Digests { revision, .. } => {
            Some(*revision)
        }
        Event::Commits(parts) => parts.last().map(super::Part::last),
    }
}
