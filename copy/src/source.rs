//! Reads what the arbiter tells into a bounded queue, by a stream or by one poll after another, and says how it ended.

use std::error::Error;
use std::time::Duration;

use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::poll_changes_request::Start as PollStart;
use gameshelf::proto::arbiter::v1::watch_request::Start as WatchStart;
use gameshelf::proto::arbiter::v1::{
    Filter, PollChangesRequest, PollChangesResponse, SnapshotStart, WatchRequest, WatchResponse,
};
use gameshelf::tokens::Token;
use mesh::outbound::{Calls, Streams};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use crate::event::{self, Event, Malformed};
use crate::options::{Follow, Options};
use crate::progress::Broken;

/// Why the arbiter is no longer followed.
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
    /// Too much of the copy differs to mend it in parts.
    #[error("{partitions} partitions differ from the arbiter's, too much to mend one by one")]
    Diverged { partitions: usize },
    /// The rows cannot be read or written.
    #[error("{0}")]
    Target(Box<dyn Error + Send + Sync>),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Why a copy is built from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildCause {
    /// There was none before.
    First,
    /// The commits that it needs are no longer kept.
    Compacted,
    /// It is of another store, or of another incarnation of it.
    OtherStore,
    /// The arbiter does not know its revision: a new incarnation, or the copy is ahead of a store that lost commits.
    BeyondHead,
    /// The stream left something out, or said what cannot be applied.
    BrokenStream,
    /// Its rows are not the arbiter's.
    Diverged,
}

impl RebuildCause {
    /// The name under which it is counted and logged.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Compacted => "compacted",
            Self::OtherStore => "other_store",
            Self::BeyondHead => "beyond_head",
            Self::BrokenStream => "broken_stream",
            Self::Diverged => "diverged",
        }
    }
}

impl Ended {
    /// Why the stream cannot be resumed from where the copy stands, so that only a new snapshot helps; none where it can.
    pub(crate) fn needs_snapshot(&self) -> Option<RebuildCause> {
        match self {
            Self::Status(status) => match reason_of(status)? {
                Reason::RevisionCompacted => Some(RebuildCause::Compacted),
                Reason::TokenForeign => Some(RebuildCause::OtherStore),
                Reason::RevisionUnknown => Some(RebuildCause::BeyondHead),
                _ => None,
            },
            Self::Broken(Broken::OtherStore) => Some(RebuildCause::OtherStore),
            Self::Malformed(_) | Self::Broken(_) => Some(RebuildCause::BrokenStream),
            Self::Diverged { .. } => Some(RebuildCause::Diverged),
            Self::Closed | Self::Silent(_) | Self::Target(_) => None,
        }
    }
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// With the first commit after a token.
    After(Token),
    /// With the newest state.
    Newest,
    /// With one partition of the state at a token.
    Part { as_of: Token, partition: u8 },
}

impl Begin {
    fn snapshot(self) -> Result<SnapshotStart, String> {
        match self {
            Self::After(token) => Err(token.to_string()),
            Self::Newest => Ok(SnapshotStart::default()),
            Self::Part { as_of, .. } => Ok(SnapshotStart { as_of_token: as_of.to_string() }),
        }
    }

    fn filter(self) -> Option<Filter> {
        let Self::Part { partition, .. } = self else { return None };
        Some(Filter { partitions: vec![partition.into()], ..Filter::default() })
    }

    /// Whether what is read keeps the copy, and is not only a part that mends it.
    fn is_whole(self) -> bool {
        !matches!(self, Self::Part { .. })
    }
}

/// The way to the arbiter.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) streams: ArbiterServiceClient<Streams>,
    pub(crate) calls: ArbiterServiceClient<Calls>,
    pub(crate) options: Options,
}

impl Source {
    /// Begins to read. A full queue holds the arbiter back.
    pub(crate) async fn open(&mut self, begin: Begin) -> Result<Reader, Ended> {
        let copy_name = if begin.is_whole() { self.options.name.clone() } else { String::new() };
        let with_digests = begin.is_whole() && self.options.check;
        let filter = begin.filter();
        let (sender, events) = mpsc::channel(self.options.queue_max_messages);
        let silence_max = self.options.silence_max;
        let task = match self.options.follow {
            Follow::Stream => {
                let start = Some(begin.snapshot().map_or_else(WatchStart::AfterToken, WatchStart::Snapshot));
                let request = WatchRequest { start, filter, copy_name, with_digests };
                let stream = self.streams.watch(request).await?.into_inner();
                tokio::spawn(read(stream, silence_max, sender))
            }
            Follow::Poll => {
                let start = begin.snapshot().map_or_else(PollStart::AfterToken, PollStart::Snapshot);
                // A poll that waits as long as a stream may be silent would look like one.
                let wait = self.options.poll_wait.min(silence_max / 2).try_into().ok();
                let request =
                    PollChangesRequest { start: Some(start), filter, wait, copy_name, with_digests };
                // The first answer shows whether the arbiter can begin there: it is not waited for any longer than that.
                let first = PollChangesRequest { wait: None, ..request.clone() };
                let answer = tokio::time::timeout(silence_max, self.calls.poll_changes(first));
                let answer = answer.await.map_err(|_| Ended::Silent(silence_max))??.into_inner();
                tokio::spawn(poll(self.calls.clone(), request, answer, silence_max, sender))
            }
        };
        Ok(Reader { events, task: AbortOnDropHandle::new(task) })
    }
}

/// What is being read. Dropping it cancels the stream.
#[derive(Debug)]
pub(crate) struct Reader {
    events: mpsc::Receiver<Event>,
    task: AbortOnDropHandle<Ended>,
}

impl Reader {
    /// Waits for the next event. All events that were read come before the end. Nothing is lost when it is cancelled.
    pub(crate) async fn next(&mut self) -> Result<Event, Ended> {
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => Err((&mut self.task).await.unwrap_or(Ended::Closed)),
        }
    }

    /// How many events were read and not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.events.len()
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
        if let Err(ended) = pass_on(message, &events).await {
            return ended;
        }
    }
}

async fn poll(
    mut arbiter: ArbiterServiceClient<Calls>,
    mut request: PollChangesRequest,
    mut answer: PollChangesResponse,
    silence_max: Duration,
    events: mpsc::Sender<Event>,
) -> Ended {
    loop {
        for message in answer.events {
            if let Err(ended) = pass_on(message, &events).await {
                return ended;
            }
        }
        request.start = Some(PollStart::Cursor(answer.cursor));
        answer = match tokio::time::timeout(silence_max, arbiter.poll_changes(request.clone())).await {
            Err(_) => return Ended::Silent(silence_max),
            Ok(Err(status)) => return status.into(),
            Ok(Ok(answer)) => answer.into_inner(),
        };
    }
}

/// Decodes a message and queues it: here, so that the task which writes need not.
async fn pass_on(message: WatchResponse, events: &mpsc::Sender<Event>) -> Result<(), Ended> {
    events.send(event::event(message)?).await.map_err(|_| Ended::Closed)
}
