//! What serves requests once the store is open: how fresh an answer is, and how a write comes to its outcome.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gameshelf::proto::freshness::v1::Provenance;
use gameshelf::tokens::Token;
use mesh::causal::{self, Scope};
use mesh::telemetry::CALL_TARGET;
use mesh::trace;
use tonic::Status;
use tracing::info_span;

use super::errors::{self, Refused, TokenProblem};
use super::import::Imports;
use super::requests::{Asked, Write};
use super::responses;
use crate::cache::Cache;
use crate::copies::Copies;
use crate::digests::LiveDigests;
use crate::domain::{Command, RequestId, Revision, Rules, Verdict};
use crate::leadership::Lease;
use crate::sequencer::{Answer, SequencerHandle, Submission};
use crate::store::SharedStore;
use crate::watch::{Hub, Watches};

/// What serves requests once the store is open.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) sequencer: SequencerHandle,
    pub(crate) store: SharedStore,
    pub(crate) cache: Arc<Cache>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) digests: Arc<LiveDigests>,
    pub(crate) copies: Arc<Copies>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) watches: Watches,
    pub(crate) imports: Imports,
    pub(crate) rules: Rules,
    /// Names the store; its revision is of no meaning.
    pub(crate) identity: Token,
    /// What its revisions count in, for whoever asks in what order they saw things.
    pub(crate) scope: Scope,
}

/// Empty until the store is open.
pub(crate) type CoreSlot = Arc<OnceLock<Core>>;

/// A write that was accepted.
pub(super) struct Written {
    pub(super) request_id: RequestId,
    pub(super) command: Arc<Command>,
    /// For each operation whether it changed anything.
    pub(super) changed: Vec<bool>,
    pub(super) expires_at_ms: Option<u64>,
    pub(super) revision: Revision,
    pub(super) token: String,
    pub(super) replayed: bool,
}

impl Core {
    pub(super) fn token(&self, revision: Revision) -> Token {
        self.identity.at(revision)
    }

    /// Refuses a token that cannot be compared with what this store knows.
    pub(super) fn check_token(&self, token: Token, head: Revision) -> Result<(), Status> {
        if token.store_id != self.identity.store_id {
            return Err(errors::token_problem(TokenProblem::Foreign));
        }
        if token.incarnation != self.identity.incarnation || token.revision > head {
            let problem = TokenProblem::Unknown { revision: token.revision, head };
            return Err(errors::token_problem(problem));
        }
        Ok(())
    }

    /// Refuses a request whose caller has seen more of this store than is known here, as if it had asked to be shown that. An
    /// earlier incarnation is over, and what was seen of other stores is theirs to judge.
    pub(super) fn check_seen(&self) -> Result<(), Status> {
        let tokens = causal::tokens().into_iter();
        let tokens = tokens.filter_map(|token| Token::in_scope(token.scope.as_bytes(), token.position));
        let Some(seen) = Token::newest_of(self.identity.store_id, tokens) else { return Ok(()) };
        let head = self.cache.head();
        if self.token(head).covers(seen) {
            return Ok(());
        }
        Err(errors::token_problem(TokenProblem::Unknown { revision: seen.revision, head }))
    }

    /// Notes that the caller sees the store at a revision now: what it asks next, of whomever, is answered no earlier.
    fn shown(&self, revision: Revision) {
        causal::record(&self.scope, revision);
    }

    /// Refuses a token from beyond what is known. Called before the answer is computed; [`Core::provenance`] after.
    pub(super) fn check_asked(&self, asked: Asked) -> Result<(), Status> {
        match asked {
            Asked::AtLeast(token) => self.check_token(token, self.cache.head()),
            Asked::Strong | Asked::AtMostOld(_) | Asked::Any => Ok(()),
        }
    }

    /// How fresh an answer is that shows a revision, or why it is not fresh enough. It is judged when the answer is there:
    /// computing it may have taken longer than the lease lasted.
    pub(super) fn provenance(&self, revision: Revision, asked: Asked) -> Result<Provenance, Status> {
        let age = self.lease.age();
        match asked {
            Asked::Strong if age.is_some() => return Err(errors::lease_over()),
            Asked::AtMostOld(limit) if age.is_some_and(|age| age > limit) => {
                return Err(errors::too_old(age.unwrap_or(Duration::MAX), limit));
            }
            Asked::Strong | Asked::AtMostOld(_) | Asked::AtLeast(_) | Asked::Any => {}
        }
        self.shown(revision);
        Ok(responses::provenance(self.token(revision), age))
    }

    /// Puts a write into the one order and waits for its outcome, which may be a refusal.
    pub(super) async fn submit(&self, write: Write) -> Result<(Arc<Command>, Answer), Status> {
        // From queue to commit. It is a child of the call's span, so it belongs to the caller's trace.
        let span = trace::within(|| {
            info_span!(
                target: CALL_TARGET,
                "arbiter.request",
                request.id = %write.request_id,
                batch.size = tracing::field::Empty,
            )
        });
        let command = Arc::new(write.command);
        let submission = Submission { request_id: write.request_id, command: Arc::clone(&command), span };
        let answer =
            self.sequencer.submit(submission).await.map_err(|error| errors::submit(&error, write.items))?;
        self.shown(answer.outcome.revision);
        Ok((command, answer))
    }

    /// Puts a write into the one order and waits for its outcome. A refusal is an error.
    pub(super) async fn write(&self, write: Write) -> Result<Written, Status> {
        let (request_id, named) = (write.request_id, write.items);
        let (command, Answer { outcome, replayed }) = self.submit(write).await?;
        let (revision, token) = (outcome.revision, self.token(outcome.revision).to_string());
        match outcome.verdict {
            Verdict::Accepted { changed, expires_at_ms } => {
                Ok(Written { request_id, command, changed, expires_at_ms, revision, token, replayed })
            }
            Verdict::Refused { items } => Err(errors::refused(&Refused {
                command: &command,
                named,
                items: &items,
                rules: &self.rules,
                revision,
                token,
                replayed,
            })),
        }
    }
}
