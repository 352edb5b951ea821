//! Who reads now: how many there are, how far each was told, and what each needs kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::metrics::Metrics;
use super::{WatchError, WatchLimits};
use crate::domain::Revision;

/// The pause between two looks at whether every stream was told.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Who reads now.
#[derive(Debug)]
pub(super) struct Readers {
    limits: WatchLimits,
    slots: Arc<Semaphore>,
    pub(super) metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    streams: HashMap<u64, Stream>,
    /// Snapshots that are read by polls, and until when the log after each is kept. One that is over stays until the log is
    /// trimmed past it, so that polling on does not prolong it.
    polled: HashMap<Revision, Instant>,
}

#[derive(Debug)]
struct Stream {
    /// The newest revision that it was told of.
    told: Revision,
    /// The snapshot that it reads, and until when the log after it is kept.
    hold: Option<(Revision, Instant)>,
    /// Since when a message has not been taken.
    untaken: Option<Instant>,
    /// Given back when the stream is cut off, though its reader is still connected.
    slot: Option<OwnedSemaphorePermit>,
}

impl Stream {
    /// Whether its reader has left a message untaken for too long.
    fn is_slow(&self, now: Instant, limits: &WatchLimits) -> bool {
        let limit = Duration::from_millis(limits.slow_reader_timeout_ms);
        self.slot.is_none() || self.untaken.is_some_and(|since| now.saturating_duration_since(since) > limit)
    }
}

impl Readers {
    pub(super) fn new(limits: WatchLimits) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(limits.watchers.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, slots, metrics: Metrics::new(), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more. Readers that were cut off and stay connected take no slots, but there are only as many as slots: what
    /// their connections hold is bounded too.
    pub(super) fn slot(&self) -> Result<OwnedSemaphorePermit, WatchError> {
        let limit = self.limits.watchers;
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let has_room = self.state().streams.len() < limit.saturating_mul(2);
        slot.ok().filter(|_| has_room).ok_or(WatchError::TooMany { limit })
    }

    /// How many more there is room for.
    #[cfg(test)]
    pub(super) fn open_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Notes a stream that begins after a revision, or with the snapshot of one.
    pub(super) fn register(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        told: Revision,
        snapshot_at: Option<Revision>,
    ) -> Registration {
        let until = Instant::now() + Duration::from_millis(self.limits.snapshot_hold_max_ms);
        let hold = snapshot_at.map(|at| (at, until));
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state.streams.insert(id, Stream { told, hold, untaken: None, slot: Some(slot) });
        drop(state);
        self.metrics.stream_opened();
        Registration { readers: Arc::clone(self), id }
    }

    /// Keeps the log after the revision of a snapshot that is read by polls, for as long as a snapshot may take.
    pub(super) fn hold(&self, at: Revision, mark: Revision) {
        let until = Instant::now() + Duration::from_millis(self.limits.snapshot_hold_max_ms);
        let mut state = self.state();
        state.polled.retain(|at, _| *at >= mark);
        if state.polled.len() < self.limits.watchers {
            state.polled.entry(at).or_insert(until);
        }
    }

    /// The oldest snapshot after which the log is still kept.
    pub(super) fn held(&self) -> Option<Revision> {
        let now = Instant::now();
        let state = self.state();
        let streams = state.streams.values().filter_map(|stream| stream.hold);
        let polled = state.polled.iter().map(|(at, until)| (*at, *until));
        streams.chain(polled).filter(|(_, until)| now < *until).map(|(at, _)| at).min()
    }

    /// Waits until every stream was told of a revision, but for those that are slow, are catching up, or read a snapshot for too long.
    pub(super) async fn told(&self, revision: Revision) {
        let limit = Duration::from_millis(self.limits.slow_reader_timeout_ms);
        let give_up = Instant::now() + limit;
        while Instant::now() < give_up {
            let now = Instant::now();
            let waits = |stream: &Stream| {
                stream.told < revision && stream.hold.is_none() && !stream.is_slow(now, &self.limits)
            };
            if !self.state().streams.values().any(waits) {
                return;
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Gives back the slots of readers that take nothing. They hear of it when they read on.
    pub(super) fn cut_off_slow(&self) {
        let now = Instant::now();
        for stream in self.state().streams.values_mut() {
            if stream.slot.is_some() && stream.is_slow(now, &self.limits) {
                stream.slot = None;
                self.metrics.cut_off();
            }
        }
    }
}

/// A stream that is noted; forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    readers: Arc<Readers>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.readers.state().streams.remove(&self.id);
        self.readers.metrics.stream_closed();
    }
}

impl Registration {
    /// The reader asks for the next message, so it has taken the one before.
    pub(super) fn taken(&self) -> Result<(), WatchError> {
        let mut state = self.readers.state();
        let Some(stream) = state.streams.get_mut(&self.id) else { return Ok(()) };
        let limits = &self.readers.limits;
        if stream.is_slow(Instant::now(), limits) {
            return Err(WatchError::SlowReader { limit_ms: limits.slow_reader_timeout_ms });
        }
        stream.untaken = None;
        Ok(())
    }

    /// A message is handed out, which tells of a revision, or is of the snapshot.
    pub(super) fn handed(&self, told: Option<Revision>) {
        let mut state = self.readers.state();
        let Some(stream) = state.streams.get_mut(&self.id) else { return };
        stream.untaken = Some(Instant::now());
        if let Some(told) = told {
            stream.told = told;
            stream.hold = None;
        }
    }
}
