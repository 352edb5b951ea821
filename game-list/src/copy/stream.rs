//! Reads a stream into a bounded queue, and says how the stream ended.

use std::time::Duration;

use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::arbiter::v1::WatchResponse;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::event::{self, Event, Malformed};
use super::progress::Broken;
use crate::store::StoreError;

/// Why a stream is no longer followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The arbiter, or the way to it, ended the stream.
    #[error("the arbiter ended the stream: {} ({:?})", .0.message(), .0.code())]
    Status(Box<Status>),
    /// The arbiter ended the stream without an error.
    #[error("the arbiter ended the stream")]
    Closed,
    /// Nothing came for longer than a live stream stays silent.
    #[error("the stream was silent for {0:?}")]
    Silent(Duration),
    /// A message cannot be applied.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The order of the stream is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The copy cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Ended {
    /// Whether the stream cannot be resumed from where the copy stands, so that only a new snapshot helps.
    pub(crate) fn needs_snapshot(&self) -> bool {
        match self {
            Self::Status(status) => matches!(
                reason_of(status),
                Some(Reason::RevisionCompacted | Reason::TokenForeign | Reason::RevisionUnknown)
            ),
            Self::Malformed(_) | Self::Broken(_) => true,
            Self::Closed | Self::Silent(_) | Self::Store(_) => false,
        }
    }
}

/// A stream that is being read. Dropping it cancels the stream.
#[derive(Debug)]
pub(crate) struct Reader {
    events: mpsc::Receiver<Event>,
    task: AbortOnDropHandle<Ended>,
}

impl Reader {
    /// Reads `stream` into a queue of `queue_max` messages; a full queue holds the stream back.
    pub(crate) fn start(stream: Streaming<WatchResponse>, silence_max: Duration, queue_max: usize) -> Self {
        let (sender, events) = mpsc::channel(queue_max);
        let task = AbortOnDropHandle::new(tokio::spawn(read(stream, silence_max, sender)));
        Self { events, task }
    }

    /// Waits for the next event. All events that were read come before the end.
    pub(crate) async fn next(&mut self) -> Result<Event, Ended> {
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => Err((&mut self.task).await.unwrap_or(Ended::Closed)),
        }
    }

    /// The next event if it was read already.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

async fn read(
    mut stream: Streaming<WatchResponse>,
    silence_max: Duration,
    events: mpsc::Sender<Event>,
) -> Ended {
    loop {
        let message = match tokio::time::timeout(silence_max, stream.message()).await {
            Err(_) => return Ended::Silent(silence_max),
            Ok(Err(status)) => return status.into(),
            Ok(Ok(None)) => return Ended::Closed,
            Ok(Ok(Some(message))) => message,
        };
        match event::event(message) {
            Err(malformed) => return malformed.into(),
            Ok(event) => {
                if events.send(event).await.is_err() {
                    return Ended::Closed;
                }
            }
        }
    }
}
