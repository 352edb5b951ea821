//! Lists a customer's games: from the copy where it is fresh enough, else from the arbiter, else not at all.

use std::sync::Arc;
use std::time::Duration;

use copy::{Link, Status};
use gameshelf::ids::{CustomerId, GameId};
use gameshelf::tokens::Token;
use mesh::environment::Clock;

use crate::arbiter::{Arbiter, ArbiterError, ArbiterPage};
use crate::freshness::{self, CopyView, Decision, Requirement, Seen};
use crate::metrics::Metrics;
use crate::model::OwnedGame;
use crate::store::{Page, Store, StoreError};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) customer_id: CustomerId,
    pub(crate) page_size: u32,
    /// Where the page begins; unset for the first page.
    pub(crate) cursor: Option<Cursor>,
    /// Judged for the first page. The later pages are of what the first page came from, and never older than it.
    pub(crate) requirement: Requirement,
    /// What the caller has seen, which the first page does not take back.
    pub(crate) seen: Seen,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// In the copy, after a game. The copy must show what the first page showed, or more.
    Copy { first: Token, after: GameId },
    /// At the arbiter, which keeps to the revision of the first page.
    Arbiter { page_token: String },
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Arbiter,
    Follower,
    LocalCopy,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Arbiter => "arbiter",
            Self::Follower => "follower",
            Self::LocalCopy => "local_copy",
        }
    }
}

/// A page of a customer's games, and how fresh it is.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) games: Vec<OwnedGame>,
    pub(crate) next: Option<Cursor>,
    pub(crate) token: Token,
    pub(crate) age: Option<Duration>,
    pub(crate) source: Source,
    pub(crate) degraded: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The copy is not fresh enough, and the arbiter cannot be reached.
    #[error("neither the copy nor the arbiter can give this freshness now")]
    FreshnessUnavailable { requirement: Requirement, seen: Option<Token>, copy: Option<CopyView> },
    /// The freshness token is of another store.
    #[error("the token was made by another store")]
    TokenForeign,
    /// The freshness token is from beyond what the store knows.
    #[error("the token is from beyond what the store knows")]
    RevisionUnknown,
    /// The list cannot be gone on with: what its first page came from is no longer there.
    #[error("the list that the page token goes on with is no longer there")]
    PageGone,
    /// The copy cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The arbiter gave an answer that was not expected.
    #[error("the arbiter gave an answer that was not expected")]
    Arbiter,
}

/// Lists games.
#[derive(Debug)]
pub(crate) struct Lister {
    pub(crate) store: Arc<Store>,
    pub(crate) status: Arc<Status>,
    pub(crate) arbiter: Arbiter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// How long an answer waits for the copy to reach a token.
    pub(crate) freshness_wait: Duration,
}

impl Lister {
    /// Answers a query.
    pub(crate) async fn list(&self, query: &Query) -> Result<Answer, ListError> {
        let answer = match &query.cursor {
            None => self.begin(query).await,
            Some(Cursor::Copy { first, after }) => self.go_on(query, *first, after).await,
            Some(Cursor::Arbiter { page_token }) => self.ask(query, Some(page_token), None).await,
        }?;
        self.metrics.answered(answer.source.as_str(), answer.degraded);
        Ok(answer)
    }

    async fn begin(&self, query: &Query) -> Result<Answer, ListError> {
        let mut view = None;
        self.wait_for(query.requirement, &query.seen).await;
        // What the copy shows is read together with the rows, so that the judgement is about these very rows.
        if query.requirement != Requirement::Strong
            && let Some((page, copy)) = self.read(query, "").await?
        {
            if freshness::decide(query.requirement, &query.seen, Some(&copy)) == Decision::Copy {
                return Ok(self.answer(query, page, copy, copy.token));
            }
            view = Some(copy);
        }
        self.ask(query, None, view).await
    }

    /// Waits until the copy sees what is asked for by a token and what the caller has seen, where it is about to: most callers
    /// who bring a token made it a moment ago. Never longer than half of the caller's deadline, so that the arbiter can be asked
    /// yet.
    pub(crate) async fn wait_for(&self, requirement: Requirement, seen: &Seen) {
        let Some(shown) = self.status.checkpoint() else { return };
        let asked = match requirement {
            // The arbiter is asked, whatever the copy shows.
            Requirement::Strong => return,
            Requirement::AtLeast(token) => Some(token),
            Requirement::AtMostOld(_) | Requirement::Any => None,
        };
        let wanted =
            asked.into_iter().chain(seen.of(shown.store_id)).filter(|token| token.at(0) == shown.at(0));
        let Some(token) = wanted.max_by_key(|token| token.revision) else { return };
        if self.status.link() != Link::Following {
            return;
        }
        let left = mesh::deadline::remaining().map(|left| left / 2);
        let patience = left.map_or(self.freshness_wait, |left| left.min(self.freshness_wait));
        // Whether it came to that is judged by what is read.
        let _ = tokio::time::timeout(patience, self.status.reached(token)).await;
    }

    async fn go_on(&self, query: &Query, first: Token, after: &GameId) -> Result<Answer, ListError> {
        let found = self.read(query, after.as_str()).await?;
        match found {
            Some((page, copy)) if copy::reached(first, copy.token) => {
                Ok(self.answer(query, page, copy, first))
            }
            // This copy is behind the one that gave the first page; it may get there.
            Some((_, copy)) if first.at(0) == copy.token.at(0) => {
                Err(unavailable(Requirement::AtLeast(first), &query.seen, Some(copy)))
            }
            None => Err(unavailable(Requirement::AtLeast(first), &query.seen, None)),
            Some(_) => Err(ListError::PageGone),
        }
    }

    /// Reads a page of the copy, one game longer than asked to tell whether there are more.
    async fn read(&self, query: &Query, after: &str) -> Result<Option<(Page, CopyView)>, ListError> {
        self.view(&query.customer_id, after, query.page_size + 1).await
    }

    /// Reads games of the copy, and how fresh they are.
    pub(crate) async fn view(
        &self,
        customer_id: &CustomerId,
        after: &str,
        limit: u32,
    ) -> Result<Option<(Page, CopyView)>, ListError> {
        // Taken before the read: the rows are at least as new as what is known by now.
        let proof = self.status.proof();
        let page = self.store.page(customer_id.as_str(), after, limit).await?;
        let now = self.clock.monotonic();
        Ok(page.map(|page| {
            let age = proof.and_then(|proof| proof.age_of(page.token, now));
            let copy = CopyView { token: page.token, age };
            (page, copy)
        }))
    }

    /// How old what the copy shows is at most, and whether that is degraded.
    pub(crate) fn age_of(&self, state: Token) -> (Option<Duration>, bool) {
        let (proof, now) = (self.status.proof(), self.clock.monotonic());
        (proof.and_then(|proof| proof.age_of(state, now)), self.status.is_degraded(now))
    }

    /// Lets the arbiter judge what is asked for. Returns the revision that it would show.
    pub(crate) async fn judged_by_arbiter(
        &self,
        customer_id: &CustomerId,
        requirement: Requirement,
        seen: &Seen,
    ) -> Result<Token, ListError> {
        let page = self.arbiter.page(customer_id, requirement, 1, None).await;
        page.map(|page| page.token).map_err(|error| refused(error, requirement, seen, None))
    }

    fn answer(&self, query: &Query, page: Page, copy: CopyView, first: Token) -> Answer {
        let mut games = page.games;
        let limit = usize::try_from(query.page_size).unwrap_or(usize::MAX);
        let more = games.len() > limit;
        games.truncate(limit);
        let last = games.last().filter(|_| more).and_then(|game| game.game_id.parse().ok());
        Answer {
            games,
            next: last.map(|after| Cursor::Copy { first, after }),
            token: copy.token,
            age: copy.age,
            source: Source::LocalCopy,
            degraded: self.status.is_degraded(self.clock.monotonic()),
        }
    }

    async fn ask(
        &self,
        query: &Query,
        page_token: Option<&str>,
        copy: Option<CopyView>,
    ) -> Result<Answer, ListError> {
        let requirement = query.requirement;
        let page = self.arbiter.page(&query.customer_id, requirement, query.page_size, page_token).await;
        page.map(from_arbiter).map_err(|error| refused(error, requirement, &query.seen, copy))
    }
}

/// That what is asked for cannot be had, with what keeps the copy from being enough.
pub(crate) fn unavailable(requirement: Requirement, seen: &Seen, copy: Option<CopyView>) -> ListError {
    let seen = copy.and_then(|copy| seen.of(copy.token.store_id));
    ListError::FreshnessUnavailable { requirement, seen, copy }
}

fn refused(error: ArbiterError, requirement: Requirement, seen: &Seen, copy: Option<CopyView>) -> ListError {
    match error {
        ArbiterError::Unreachable => unavailable(requirement, seen, copy),
        ArbiterError::TokenForeign => ListError::TokenForeign,
        ArbiterError::RevisionUnknown => ListError::RevisionUnknown,
        ArbiterError::Page => ListError::PageGone,
        ArbiterError::Unexpected => ListError::Arbiter,
    }
}

fn from_arbiter(page: ArbiterPage) -> Answer {
    Answer {
        games: page.games,
        next: page.next_page_token.map(|page_token| Cursor::Arbiter { page_token }),
        token: page.token,
        age: page.age,
        source: if page.from_follower { Source::Follower } else { Source::Arbiter },
        degraded: page.degraded,
    }
}
