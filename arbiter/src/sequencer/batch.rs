//! Decides the requests of one batch, in order, and says what has to be written. Pure: the store is asked before, and
//! written to after.

use std::collections::HashMap;
use std::sync::Arc;

use super::request::{Answer, SubmitError};
use super::retention::Retention;
use crate::domain::{Command, Commit, Key, Moment, Outcome, RequestId, Revision, Rules, State, decide};
use crate::store::{Batch, StoredRequest};

/// A request as the batch sees it.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) request_id: RequestId,
    pub(super) content_hash: [u8; 32],
    pub(super) command: &'a Command,
    /// The trace of the request; empty when it is not recorded.
    pub(super) traceparent: &'a str,
}

/// What the arbiter itself does in a batch, before the requests: it ends what is due.
#[derive(Debug)]
pub(super) struct OwnItem {
    pub(super) request_id: RequestId,
    pub(super) command: Command,
}

/// What a batch is decided by, beside the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// The newest committed revision.
    pub(super) head: Revision,
    pub(super) now_ms: u64,
    pub(super) rules: &'a Rules,
    pub(super) retention: &'a Retention,
    /// What was to be written with these requests by a COMMIT whose answer was lost. Found in the store just so, it was.
    pub(super) tried: &'a HashMap<RequestId, Arc<StoredRequest>>,
}

/// What to write, and what to answer once it is written: one answer for each item, in order.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) batch: Batch,
    pub(super) answers: Vec<Result<Answer, SubmitError>>,
    /// Keys that were taken for absent, which writing the batch does not prove.
    pub(super) unproven: Vec<Key>,
}

/// Decides a batch on top of the newest committed revision.
///
/// A request id that has an outcome, stored (`known`) or made earlier in this batch, gets that outcome again and has no
/// effect. A request that changes something takes the next revision; one that changes nothing, or is refused, takes none.
/// An outcome that this very request wrote, by a COMMIT whose answer was lost, is no repeat.
pub(super) fn decide_batch(
    own: &[OwnItem],
    items: &[Item<'_>],
    known: Vec<StoredRequest>,
    state: State<'_>,
    terms: Terms<'_>,
) -> Decided {
    let mut deciding = Deciding { state, terms, revision: terms.head, batch: Batch::default() };
    for item in own {
        deciding.decide(item.request_id, &item.command, "");
    }
    let mut known: HashMap<RequestId, Known> = known
        .into_iter()
        .map(|request| {
            let is_own = terms.tried.get(&request.request_id).is_some_and(|tried| **tried == request);
            (request.request_id, Known { request: Arc::new(request), is_own })
        })
        .collect();
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        answers.push(deciding.answer(item, &mut known));
    }
    let unproven = deciding.state.unproven();
    let mut batch = deciding.batch;
    batch.effects = deciding.state.into_effects();
    Decided { batch, answers, unproven }
}

/// An outcome that there is under a request id.
struct Known {
    request: Arc<StoredRequest>,
    /// Whether the next request of this id is the one that wrote it.
    is_own: bool,
}

struct Deciding<'a> {
    state: State<'a>,
    terms: Terms<'a>,
    /// The newest revision, those of this batch included.
    revision: Revision,
    batch: Batch,
}

impl Deciding<'_> {
    fn answer(
        &mut self,
        item: &Item<'_>,
        known: &mut HashMap<RequestId, Known>,
    ) -> Result<Answer, SubmitError> {
        let earlier = known.get_mut(&item.request_id);
        // What this request wrote is the truth, even if its id expired while that was found out.
        if !earlier.as_ref().is_some_and(|earlier| earlier.is_own) {
            self.terms.retention.check(item.request_id, self.terms.now_ms)?;
        }
        if let Some(Known { request, is_own }) = earlier {
            if request.content_hash != item.content_hash {
                return Err(SubmitError::RequestIdReused);
            }
            let replayed = !std::mem::take(is_own);
            return Ok(Answer { outcome: request.outcome.clone(), replayed });
        }
        let outcome = self.decide(item.request_id, item.command, item.traceparent);
        let request = Arc::new(StoredRequest {
            request_id: item.request_id,
            content_hash: item.content_hash,
            outcome: outcome.clone(),
            decided_at_ms: self.terms.now_ms,
        });
        known.insert(item.request_id, Known { request: Arc::clone(&request), is_own: false });
        self.batch.requests.push(request);
        Ok(Answer { outcome, replayed: false })
    }

    fn decide(&mut self, request_id: RequestId, command: &Command, traceparent: &str) -> Outcome {
        let moment = Moment { head: self.revision, now_ms: self.terms.now_ms };
        let decision = decide(request_id, command, &mut self.state, moment, self.terms.rules);
        if !decision.changes.is_empty() {
            self.revision += 1;
            self.batch.commits.push(Commit {
                revision: self.revision,
                request_id,
                committed_at_ms: self.terms.now_ms,
                cause: Arc::clone(&command.cause),
                changes: decision.changes,
                traceparent: traceparent.to_owned(),
            });
        }
        Outcome { revision: self.revision, verdict: decision.verdict }
    }
}
