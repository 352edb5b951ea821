//! Streams a customer's games from the copy: all of them first, then what each commit changed.

use std::sync::Arc;
use std::time::Duration;

use copy::reached;
use gameshelf::ids::CustomerId;
use gameshelf::tokens::Token;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::freshness::{self, CopyView, Decision, Requirement, Seen};
use crate::hub::{Hub, Subscription, TooMany, Update};
use crate::list::{self, ListError, Lister};
use crate::model::OwnedGame;
use crate::store::Page;

/// Messages that may stand between the stream and its connection.
const SENDING_MAX: usize = 4;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Games of the customer; with `complete` the last of them.
    Games { games: Vec<OwnedGame>, complete: bool },
    /// What one commit changed.
    Changes { granted: Vec<OwnedGame>, revoked: Vec<String> },
    /// Nothing changed.
    Unchanged,
}

/// A message of a stream, and how fresh the stream is with it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) event: Event,
    pub(crate) token: Token,
    pub(crate) age: Option<Duration>,
    pub(crate) degraded: bool,
}

/// Why there is no stream, or no more of it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The games cannot be read as fresh as asked for.
    #[error(transparent)]
    List(#[from] ListError),
    /// As many streams are open as may be.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The customer has more games than may be watched.
    #[error("the customer has more than {limit} games, the most that can be watched")]
    TooManyGames { limit: u32 },
    /// The reader does not keep up.
    #[error(
        "the stream is read too slowly: more than {queue} changes wait, or one for longer than {limit_ms} ms"
    )]
    SlowReader { queue: u32, limit_ms: u64 },
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// What streams may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchLimits {
    pub(crate) queue: u32,
    pub(crate) games: u32,
    pub(crate) games_per_message: usize,
    pub(crate) slow_reader: Duration,
    pub(crate) unchanged: Duration,
}

/// Opens streams. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) lister: Arc<Lister>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: WatchLimits,
    pub(crate) draining: CancellationToken,
}

/// What a stream sends.
pub(crate) type Messages = mpsc::Receiver<Result<Message, WatchError>>;

impl Watcher {
    /// Opens a stream, the first message of which is as fresh as asked for, and no earlier than what the caller has seen.
    /// Returns what that message shows too. The stream ends when the receiver is dropped.
    pub(crate) async fn open(
        &self,
        customer_id: CustomerId,
        requirement: Requirement,
        seen: &Seen,
    ) -> Result<(Token, Messages), WatchError> {
        // Before the games are read: what is committed meanwhile waits in the queue.
        let updates = self.hub.subscribe(customer_id.as_str())?;
        let page = self.first(&customer_id, requirement, seen).await?;
        let shown = page.token;
        let (sender, messages) = mpsc::channel(SENDING_MAX);
        let stream = Stream { watcher: self.clone(), customer_id, updates, sender, shown };
        tokio::spawn(stream.run(page));
        Ok((shown, messages))
    }

    async fn first(
        &self,
        customer_id: &CustomerId,
        requirement: Requirement,
        seen: &Seen,
    ) -> Result<Page, WatchError> {
        let wanted = match requirement {
            // A copy that has all that the arbiter had after the stream was asked for is as good as the arbiter.
            Requirement::Strong => {
                Requirement::AtLeast(self.lister.judged_by_arbiter(customer_id, requirement, seen).await?)
            }
            other => other,
        };
        self.lister.wait_for(wanted, seen).await;
        let (page, copy) =
            self.all(customer_id).await?.map_or((None, None), |(page, copy)| (Some(page), Some(copy)));
        if let Some(page) = page.filter(|_| freshness::decide(wanted, seen, copy.as_ref()) == Decision::Copy)
        {
            return Ok(page);
        }
        // A token that nothing will ever meet is told as such.
        self.lister.judged_by_arbiter(customer_id, requirement, seen).await?;
        Err(list::unavailable(requirement, seen, copy).into())
    }

    /// All games of a customer, of one moment.
    async fn all(&self, customer_id: &CustomerId) -> Result<Option<(Page, CopyView)>, WatchError> {
        let limit = self.limits.games;
        let found = self.lister.view(customer_id, "", limit + 1).await?;
        match found {
            Some((page, _)) if page.games.len() > limit as usize => Err(WatchError::TooManyGames { limit }),
            found => Ok(found),
        }
    }
}

/// One stream. Its steps fail with why it ends; without a word where the reader is gone.
struct Stream {
    watcher: Watcher,
    customer_id: CustomerId,
    updates: Subscription,
    sender: mpsc::Sender<Result<Message, WatchError>>,
    /// What the reader was told of.
    shown: Token,
}

impl Stream {
    async fn run(mut self, first: Page) {
        let mut page = Some(first);
        loop {
            let step = match page.take() {
                Some(page) => self.send_all(page).await.map(|()| None),
                None => self.follow().await,
            };
            match step {
                Ok(next) => page = next,
                Err(None) => return,
                Err(Some(error)) => {
                    let last = self.sender.send(Err(error));
                    let _ = tokio::time::timeout(self.watcher.limits.slow_reader, last).await;
                    return;
                }
            }
        }
    }

    async fn send_all(&mut self, page: Page) -> Result<(), Option<WatchError>> {
        self.shown = page.token;
        let mut rest = page.games;
        loop {
            let more = rest.split_off(rest.len().min(self.watcher.limits.games_per_message));
            let complete = more.is_empty();
            self.send(Event::Games { games: rest, complete }).await?;
            if complete {
                return Ok(());
            }
            rest = more;
        }
    }

    /// Tells of what changes next. Returns all games where they are to be sent again.
    async fn follow(&mut self) -> Result<Option<Page>, Option<WatchError>> {
        let limits = self.watcher.limits;
        let update = tokio::select! {
            update = self.updates.next() => update.ok_or_else(|| Some(self.too_slow()))?,
            () = tokio::time::sleep(limits.unchanged) => {
                if let Some(to) = self.updates.complete_to().filter(|to| reached(self.shown, *to)) {
                    self.shown = to;
                }
                self.send(Event::Unchanged).await?;
                return Ok(None);
            }
            () = self.watcher.draining.cancelled() => return Err(Some(WatchError::Stopping)),
            () = self.sender.closed() => return Err(None),
        };
        match update {
            Update::Void => {
                Ok(self.watcher.all(&self.customer_id).await.map_err(Some)?.map(|(page, _)| page))
            }
            Update::Changed { revision, granted, revoked } if is_news(revision, self.shown) => {
                self.shown = revision;
                self.send(Event::Changes { granted, revoked }).await?;
                Ok(None)
            }
            Update::Changed { .. } => Ok(None),
        }
    }

    async fn send(&self, event: Event) -> Result<(), Option<WatchError>> {
        let (age, degraded) = self.watcher.lister.age_of(self.shown);
        let message = Message { event, token: self.shown, age, degraded };
        match tokio::time::timeout(self.watcher.limits.slow_reader, self.sender.send(Ok(message))).await {
            Ok(sent) => sent.map_err(|_| None),
            Err(_) => Err(Some(self.too_slow())),
        }
    }

    fn too_slow(&self) -> WatchError {
        let WatchLimits { queue, slow_reader, .. } = self.watcher.limits;
        WatchError::SlowReader { queue, limit_ms: u64::try_from(slow_reader.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Whether a commit is still to be told to a reader who was shown a revision: what is older was in the games that were read.
fn is_news(revision: Token, shown: Token) -> bool {
    revision != shown && reached(shown, revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_in_the_games_is_not_told_again() {
        let at = |revision| Token { store_id: uuid::Uuid::from_u128(1), incarnation: 1, revision };
        assert!(is_news(at(6), at(5)));
        assert!(!is_news(at(5), at(5)), "it was committed between the subscription and the read");
        assert!(!is_news(at(4), at(5)));
        let restored = Token { incarnation: 2, ..at(6) };
        assert!(!is_news(at(6), restored), "what another incarnation committed is void");
    }
}
