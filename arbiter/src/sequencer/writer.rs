//! Takes a batch through the store: load, decide, commit, answer. And settles what the store leaves unknown.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Environment;
use opentelemetry::KeyValue;
use opentelemetry::trace::TraceContextExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::batch::{Decided, Item, decide_batch};
use super::envelope::Envelope;
use super::metrics::Metrics;
use super::request::{Answer, SubmitError};
use super::{Lead, SequencerError, SequencerLimits};
use crate::domain::{Key, RequestId};
use crate::store::{CommitError, Head, SharedStore, StoreError};
use crate::watch::Hub;

/// Why a batch could not be written.
#[derive(Debug)]
enum WriteError {
    /// Nothing was written, and the store may answer later.
    Unreachable,
    /// Nothing was written; the store does not take this batch.
    Refused,
    /// It may have been written.
    Unknown,
    /// This process must not write any more.
    Ended(SequencerError),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store did not take a batch");
        if error.is_transient() { Self::Unreachable } else { Self::Refused }
    }
}

/// The state of the one writer.
#[derive(Debug)]
pub(super) struct Writer {
    store: SharedStore,
    leader_id: Uuid,
    head: Head,
    /// Whether the head is known; it is not after an error, until a new epoch is committed.
    settled: bool,
    hub: Arc<Hub>,
    environment: Environment,
    limits: SequencerLimits,
    metrics: Arc<Metrics>,
    /// Whether the store answers, as far as is known.
    reachable: watch::Sender<bool>,
}

impl Writer {
    pub(super) fn new(lead: Lead, hub: Arc<Hub>, environment: Environment, limits: SequencerLimits) -> Self {
        let Lead { store, leader_id, head } = lead;
        let metrics = Arc::new(Metrics::new());
        let reachable = watch::Sender::new(true);
        Self { store, leader_id, head, settled: true, hub, environment, limits, metrics, reachable }
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(super) fn reachable(&self) -> watch::Receiver<bool> {
        self.reachable.subscribe()
    }

    /// Writes a batch and answers every request of it.
    pub(super) async fn write(&mut self, mut envelopes: Vec<Envelope>) -> Result<(), SequencerError> {
        // Whoever gave up before the batch began is not served any more: nothing of theirs was written.
        envelopes.retain(|envelope| !envelope.is_abandoned());
        if envelopes.is_empty() {
            return Ok(());
        }
        let span = info_span!(
            parent: None,
            "arbiter.batch",
            batch.size = envelopes.len(),
            batch.commits = tracing::field::Empty,
            revision = tracing::field::Empty,
        );
        link(&span, &envelopes);
        self.write_or_settle(envelopes).instrument(span).await
    }

    async fn write_or_settle(&mut self, envelopes: Vec<Envelope>) -> Result<(), SequencerError> {
        match self.attempt(&envelopes, &HashSet::new()).await {
            Ok(answers) => {
                answer_all(envelopes, answers);
                Ok(())
            }
            // The store does not take them together: each is tried alone, so that one cannot harm the others.
            Err(WriteError::Refused) if envelopes.len() > 1 => {
                for envelope in envelopes {
                    Box::pin(self.write_or_settle(vec![envelope])).await?;
                }
                Ok(())
            }
            Err(WriteError::Refused) => {
                answer_error(envelopes, &SubmitError::Defect);
                Ok(())
            }
            Err(error @ (WriteError::Unreachable | WriteError::Unknown)) => {
                self.settle(envelopes, matches!(error, WriteError::Unknown)).await
            }
            Err(WriteError::Ended(error)) => {
                answer_error(envelopes, &SubmitError::from(&error));
                Err(error)
            }
        }
    }

    /// One attempt at a batch. `unsettled` are requests whose outcome, if one is found, is that of this very batch.
    async fn attempt(
        &mut self,
        envelopes: &[Envelope],
        unsettled: &HashSet<RequestId>,
    ) -> Result<Vec<Result<Answer, SubmitError>>, WriteError> {
        if !self.settled {
            self.lead_again().await?;
        }
        let items: Vec<Item<'_>> = envelopes.iter().map(Envelope::item).collect();
        let ids: Vec<RequestId> = items.iter().map(|item| item.request_id).collect();
        let keys: HashSet<Key> = items.iter().flat_map(|item| item.command.keys()).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        let loaded = self.store.load(&ids, &keys).await?;
        let mut decided = decide_batch(&items, loaded, self.head.revision, self.environment.clock.unix_ms());
        for envelope in envelopes {
            envelope
                .submission
                .span
                .add_event("decided", vec![KeyValue::new("batch.size", signed(envelopes.len()))]);
        }
        for (answer, item) in decided.answers.iter_mut().zip(&items) {
            if let Ok(answer) = answer
                && unsettled.contains(&item.request_id)
            {
                answer.replayed = false;
            }
        }
        self.commit(&decided).await?;
        self.publish(decided.batch.commits);
        Ok(decided.answers)
    }

    /// Commits a new epoch, unless another process took over since.
    async fn lead_again(&mut self) -> Result<(), WriteError> {
        let head = self.store.lead(self.leader_id, false).await?;
        self.head = head.ok_or(WriteError::Ended(SequencerError::Fenced))?;
        self.hub.advance(self.head.revision);
        self.settled = true;
        self.reachable.send_replace(true);
        Ok(())
    }

    /// Asks a store that did not answer whether it does again, so that recovery does not wait for a request.
    pub(super) async fn probe(&mut self) -> Result<(), SequencerError> {
        match self.lead_again().await {
            Err(WriteError::Ended(error)) => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Whether the head is known. When it is not, [`Writer::probe`] finds out.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    async fn commit(&mut self, decided: &Decided) -> Result<(), WriteError> {
        if decided.batch.requests.is_empty() {
            // Only repeats: their outcomes are on the disk already.
            return Ok(());
        }
        let span = info_span!("arbiter.store.commit", db.operation.name = "COMMIT");
        let begin = Instant::now();
        let committed = self.store.commit(&self.head, &decided.batch).instrument(span).await;
        self.metrics.committed(decided.batch.requests.len(), begin.elapsed().as_secs_f64());
        committed.map_err(|error| match error {
            CommitError::Before(error) => {
                self.settled = false;
                WriteError::from(error)
            }
            CommitError::Unknown(error) => {
                tracing::error!(%error, "the answer to COMMIT was lost");
                self.settled = false;
                WriteError::Unknown
            }
            CommitError::Fenced => WriteError::Ended(SequencerError::Fenced),
            CommitError::Fatal(error) => {
                tracing::error!(%error, "COMMIT failed");
                WriteError::Ended(SequencerError::Fatal(error.to_string()))
            }
        })
    }

    /// Tells readers and watchers of commits that are on the disk.
    fn publish(&mut self, commits: Vec<crate::domain::Commit>) {
        if let Some(last) = commits.last() {
            self.head.revision = last.revision;
            let span = Span::current();
            span.record("batch.commits", commits.len());
            span.record("revision", last.revision);
            self.hub.publish(commits);
        }
    }

    /// Finds out what became of a batch: commits a new epoch over a new connection, which waits for the old transaction's
    /// end either way, and takes the batch again. Requests that were committed are found by their ids.
    async fn settle(&mut self, envelopes: Vec<Envelope>, unknown: bool) -> Result<(), SequencerError> {
        let give_up = Instant::now() + Duration::from_millis(self.limits.settle_timeout_ms);
        let mut unknown = unknown;
        let mut unsettled = HashSet::new();
        loop {
            if unknown {
                unsettled.extend(envelopes.iter().map(|envelope| envelope.submission.request_id));
            }
            self.settled = false;
            self.metrics.settled();
            match self.attempt(&envelopes, &unsettled).await {
                Ok(answers) => {
                    answer_all(envelopes, answers);
                    return Ok(());
                }
                Err(WriteError::Ended(error)) => {
                    answer_error(envelopes, &told(unknown, SubmitError::from(&error)));
                    return Err(error);
                }
                // As without an outage: one that the store does not take must not harm the others.
                Err(WriteError::Refused) if envelopes.len() > 1 => {
                    for envelope in envelopes {
                        Box::pin(self.settle(vec![envelope], unknown)).await?;
                    }
                    return Ok(());
                }
                Err(WriteError::Refused) => {
                    answer_error(envelopes, &told(unknown, SubmitError::Defect));
                    return Ok(());
                }
                Err(WriteError::Unknown) => unknown = true,
                Err(WriteError::Unreachable) => {}
            }
            if Instant::now() >= give_up {
                self.reachable.send_replace(false);
                answer_error(envelopes, &told(unknown, SubmitError::StoreUnavailable));
                return Ok(());
            }
            sleep(Duration::from_millis(self.limits.settle_pause_ms)).await;
        }
    }
}

impl From<&SequencerError> for SubmitError {
    fn from(error: &SequencerError) -> Self {
        match error {
            SequencerError::Fenced => Self::NotLeader,
            SequencerError::Fatal(_) => Self::OutcomeUnknown,
        }
    }
}

/// An outcome that may exist is called unknown, whatever else went wrong.
fn told(unknown: bool, error: SubmitError) -> SubmitError {
    if unknown { SubmitError::OutcomeUnknown } else { error }
}

fn answer_all(envelopes: Vec<Envelope>, answers: Vec<Result<Answer, SubmitError>>) {
    for (envelope, answer) in envelopes.into_iter().zip(answers) {
        envelope.answer(answer);
    }
}

fn answer_error(envelopes: Vec<Envelope>, error: &SubmitError) {
    for envelope in envelopes {
        envelope.answer(Err(error.clone()));
    }
}

/// Links each request's span with the batch's, which is a trace of its own: many requests share one batch.
fn link(batch: &Span, envelopes: &[Envelope]) {
    let context = batch.context().span().span_context().clone();
    for envelope in envelopes {
        envelope.submission.span.record("batch.size", envelopes.len());
        if context.is_valid() {
            envelope.submission.span.add_link(context.clone());
        }
    }
}

/// OpenTelemetry's numbers are signed.
fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
