//! Decides the requests of one batch, in order, and says what has to be written. Pure: the store is asked before, and
//! written to after.

use std::collections::HashMap;

use super::request::{Answer, SubmitError};
use crate::domain::{Command, Commit, Outcome, RequestId, Revision, State, decide};
use crate::store::{Batch, Loaded, StoredRequest};

/// A request as the batch sees it.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) request_id: RequestId,
    pub(super) content_hash: [u8; 32],
    pub(super) command: &'a Command,
    /// The trace of the request; empty when it is not recorded.
    pub(super) traceparent: &'a str,
}

/// What to write, and what to answer once it is written: one answer for each item, in order.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) batch: Batch,
    pub(super) answers: Vec<Result<Answer, SubmitError>>,
}

/// Decides a batch on top of `head`, the newest committed revision.
///
/// A request id that has an outcome, stored or made earlier in this batch, gets that outcome again and has no effect.
/// A request that changes something takes the next revision; one that changes nothing, or is refused, takes none.
pub(super) fn decide_batch(items: &[Item<'_>], loaded: Loaded, head: Revision, now_ms: u64) -> Decided {
    let mut known: HashMap<RequestId, StoredRequest> =
        loaded.requests.into_iter().map(|request| (request.request_id, request)).collect();
    let mut state = State::new(loaded.entitlements);
    let mut revision = head;
    let mut batch = Batch::default();
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        if let Some(earlier) = known.get(&item.request_id) {
            answers.push(if earlier.content_hash == item.content_hash {
                Ok(Answer { outcome: earlier.outcome.clone(), replayed: true })
            } else {
                Err(SubmitError::RequestIdReused)
            });
            continue;
        }
        let decision = decide(item.command, &state);
        if !decision.changes.is_empty() {
            revision += 1;
            let commit = Commit {
                revision,
                request_id: item.request_id,
                committed_at_ms: now_ms,
                cause: item.command.cause().clone(),
                changes: decision.changes,
                traceparent: item.traceparent.to_owned(),
            };
            state.apply(&commit);
            batch.commits.push(commit);
        }
        let outcome = Outcome { revision, verdict: decision.verdict };
        let request = StoredRequest {
            request_id: item.request_id,
            content_hash: item.content_hash,
            outcome: outcome.clone(),
            decided_at_ms: now_ms,
        };
        known.insert(item.request_id, request.clone());
        batch.requests.push(request);
        answers.push(Ok(Answer { outcome, replayed: false }));
    }
    batch.effects = state.into_effects();
    Decided { batch, answers }
}
