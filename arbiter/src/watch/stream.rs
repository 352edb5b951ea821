//! One stream of Watch: snapshot, marker, then every later commit, with bookmarks in between.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::domain::{Commit, Entitlement, Revision};
use crate::store::{SharedStore, StoreError};

/// The limits of Watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchLimits {
    /// The most streams at once.
    pub(crate) watchers: usize,
    /// About how many bytes of commits one message holds; a larger commit has a message of its own.
    pub(crate) message_bytes: usize,
    /// The most entitlements in one message of a snapshot.
    pub(crate) snapshot_chunk: u32,
    /// The most messages that wait for a reader.
    pub(crate) queue_messages: usize,
    /// How long a reader may leave its queue full, in milliseconds.
    pub(crate) slow_reader_timeout_ms: u64,
    /// The time between bookmarks on an idle stream, in milliseconds.
    pub(crate) bookmark_interval_ms: u64,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the state at the newest revision.
    Snapshot,
    /// With the first commit after a revision.
    After(Revision),
}

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part of the state at a revision.
    SnapshotChunk { revision: Revision, entitlements: Vec<Entitlement> },
    /// The state is complete.
    SnapshotEnd { revision: Revision },
    /// Whole commits; at least one.
    Commits(Vec<Arc<Commit>>),
    /// Nothing at or below the revision is still to come.
    Bookmark { revision: Revision },
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// As many streams are open as may be.
    #[error("at most {limit} streams may be open")]
    TooMany { limit: usize },
    /// The reader left its queue full.
    #[error("the reader took no message for {limit_ms} ms")]
    SlowReader { limit_ms: u64 },
    /// The service stops.
    #[error("the arbiter is stopping; resume by the last token")]
    Draining,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens streams.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    store: SharedStore,
    hub: Arc<Hub>,
    limits: WatchLimits,
    slots: Arc<Semaphore>,
    draining: CancellationToken,
}

impl Watches {
    /// Opens streams over a store and its hub, until `draining` is cancelled.
    pub(crate) fn new(
        store: SharedStore,
        hub: Arc<Hub>,
        limits: WatchLimits,
        draining: CancellationToken,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(limits.watchers.min(Semaphore::MAX_PERMITS)));
        Self { store, hub, limits, slots, draining }
    }

    /// How many more streams may be opened now.
    #[cfg(test)]
    pub(super) fn open_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Opens a stream. It ends with an error as its last item, or when the receiver is dropped.
    ///
    /// # Errors
    ///
    /// [`WatchError::TooMany`].
    pub(crate) fn open(&self, start: Start) -> Result<EventReceiver, WatchError> {
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| WatchError::TooMany { limit: self.limits.watchers })?;
        let (sender, receiver) = mpsc::channel(self.limits.queue_messages.max(1));
        let end = Arc::new(OnceLock::new());
        let stream = Stream {
            store: Arc::clone(&self.store),
            hub: Arc::clone(&self.hub),
            limits: self.limits,
            head: self.hub.subscribe(),
            sender,
            _slot: slot,
        };
        let draining = self.draining.clone();
        let told = Arc::clone(&end);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = stream.run(start) => ended,
                () = draining.cancelled() => Err(Stop::Error(WatchError::Draining)),
            };
            if let Err(Stop::Error(error)) = ended {
                // The cell is set once, here.
                let _ = told.set(Mutex::new(Some(error)));
            }
        });
        Ok(EventReceiver { receiver, end })
    }
}

/// The reader's side of a stream.
#[derive(Debug)]
pub(crate) struct EventReceiver {
    receiver: mpsc::Receiver<Event>,
    /// Why the stream ended. It stands beside the queue, since that may be full when a slow reader is cut off.
    end: Arc<OnceLock<Mutex<Option<WatchError>>>>,
}

impl EventReceiver {
    /// The next event; after the last one, once, why the stream ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, WatchError>> {
        if let Some(event) = self.receiver.recv().await {
            return Some(Ok(event));
        }
        let end = self.end.get()?;
        end.lock().unwrap_or_else(PoisonError::into_inner).take().map(Err)
    }
}

enum Stop {
    /// The reader is gone.
    Gone,
    Error(WatchError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

struct Stream {
    store: SharedStore,
    hub: Arc<Hub>,
    limits: WatchLimits,
    head: watch::Receiver<Revision>,
    sender: mpsc::Sender<Event>,
    _slot: OwnedSemaphorePermit,
}

impl Stream {
    async fn run(mut self, start: Start) -> Result<(), Stop> {
        let after = match start {
            Start::Snapshot => self.send_snapshot().await?,
            Start::After(revision) => revision,
        };
        self.send_tail(after).await
    }

    /// Sends the state at the newest revision, read by key in short statements, and returns that revision.
    async fn send_snapshot(&mut self) -> Result<Revision, Stop> {
        let revision = self.hub.head();
        let mut after = None;
        loop {
            let entitlements =
                self.store.snapshot(revision, after.as_ref(), self.limits.snapshot_chunk).await?;
            let Some(last) = entitlements.last() else { break };
            let is_last = entitlements.len() < self.limits.snapshot_chunk as usize;
            after = Some((last.customer_id.clone(), last.game_id.clone()));
            self.send(Event::SnapshotChunk { revision, entitlements }).await?;
            if is_last {
                break;
            }
        }
        self.send(Event::SnapshotEnd { revision }).await?;
        Ok(revision)
    }

    /// Sends every commit after a revision, for ever, and a bookmark whenever there is none for a while.
    async fn send_tail(&mut self, after: Revision) -> Result<(), Stop> {
        let mut reached = after;
        let interval = Duration::from_millis(self.limits.bookmark_interval_ms);
        let mut next_bookmark = Instant::now() + interval;
        loop {
            let head = *self.head.borrow_and_update();
            if reached < head {
                for commits in self.commits_after(reached).await? {
                    reached = commits.last().map_or(reached, |commit| commit.revision);
                    self.send(Event::Commits(commits)).await?;
                }
                next_bookmark = Instant::now() + interval;
                continue;
            }
            tokio::select! {
                changed = self.head.changed() => changed.map_err(|_| Stop::Error(WatchError::Draining))?,
                () = sleep_until(next_bookmark) => {
                    self.send(Event::Bookmark { revision: reached }).await?;
                    next_bookmark = Instant::now() + interval;
                }
                () = self.sender.closed() => return Err(Stop::Gone),
            }
        }
    }

    /// The next commits after a revision below the head, in messages of a bounded size: from memory, or from the log.
    async fn commits_after(&self, revision: Revision) -> Result<Vec<Vec<Arc<Commit>>>, Stop> {
        if let Some(commits) = self.hub.after(revision, self.limits.message_bytes) {
            return Ok(vec![commits]);
        }
        let head = self.hub.head();
        let commits = self.store.log(revision, 16).await?;
        // A commit of the log that was not published yet is not acknowledged yet either.
        let commits = commits.into_iter().filter(|commit| commit.revision <= head).map(Arc::new).collect();
        Ok(split(commits, self.limits.message_bytes))
    }

    async fn send(&self, event: Event) -> Result<(), Stop> {
        let limit_ms = self.limits.slow_reader_timeout_ms;
        match timeout(Duration::from_millis(limit_ms), self.sender.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Stop::Gone),
            Err(_) => Err(Stop::Error(WatchError::SlowReader { limit_ms })),
        }
    }
}

/// Splits commits into messages of about a size. A commit is never split.
fn split(commits: Vec<Arc<Commit>>, message_bytes: usize) -> Vec<Vec<Arc<Commit>>> {
    let mut messages: Vec<Vec<Arc<Commit>>> = Vec::new();
    let mut bytes = 0;
    for commit in commits {
        let size = commit.bytes();
        match messages.last_mut() {
            Some(message) if bytes + size <= message_bytes => message.push(commit),
            _ => {
                bytes = 0;
                messages.push(vec![commit]);
            }
        }
        bytes += size;
    }
    messages
}
