//! Takes a batch through the store: load, decide, commit, answer. And settles what the store leaves unknown.

mod error;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mesh::environment::Environment;
use mesh::telemetry::CALL_TARGET;
use mesh::trace;
use opentelemetry::KeyValue;
use opentelemetry::trace::TraceContextExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use error::WriteError;

use super::batch::{Decided, Item, Terms, decide_batch};
use super::envelope::Envelope;
use super::expiry::Expiry;
use super::knowledge::{Look, Sources, needs};
use super::metrics::Metrics;
use super::request::{Answer, SubmitError};
use super::retention::Retention;
use super::{Lead, SequencerError, SequencerLimits};
use crate::cache::Cache;
use crate::domain::{GameId, Outcome, RequestId, Stock};
use crate::store::{CommitError, Head, SharedStore};
use crate::watch::Hub;

/// For how many batches the store is asked first after one was decided on a wrong assumption.
const LOOK_FIRST_BATCHES: u32 = 16;

/// The state of the one writer.
#[derive(Debug)]
pub(super) struct Writer {
    store: SharedStore,
    leader_id: Uuid,
    head: Head,
    /// Whether the head is known; it is not after an error, until a new epoch is committed.
    settled: bool,
    hub: Arc<Hub>,
    cache: Arc<Cache>,
    /// The stocks as of the head.
    stocks: HashMap<GameId, Stock>,
    expiry: Expiry,
    retention: Retention,
    /// For how many more batches the store is asked before they are decided.
    look_first: u32,
    /// What this batch tried to write by a COMMIT whose answer was lost: found in the store, it is no repeat.
    unsettled: HashMap<RequestId, Outcome>,
    environment: Environment,
    limits: SequencerLimits,
    metrics: Arc<Metrics>,
    /// Whether the store answers, as far as is known.
    reachable: watch::Sender<bool>,
}

impl Writer {
    pub(super) fn new(lead: Lead, environment: Environment, limits: SequencerLimits) -> Self {
        let retention =
            Retention { retention_ms: limits.request_retention_ms, mark_ms: lead.start.trim_mark_ms };
        Self {
            store: lead.store,
            leader_id: lead.leader_id,
            head: lead.start.head,
            settled: true,
            hub: lead.hub,
            cache: lead.cache,
            stocks: lead.start.stocks,
            expiry: Expiry::new(lead.start.next_due_ms, limits.batch_requests),
            retention,
            look_first: 0,
            unsettled: HashMap::new(),
            environment,
            limits,
            metrics: Arc::new(Metrics::new()),
            reachable: watch::Sender::new(true),
        }
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(super) fn reachable(&self) -> watch::Receiver<bool> {
        self.reachable.subscribe()
    }

    /// How long until there is something to do without a request: something is due, or the store is to be asked again.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        if !self.settled {
            return Some(Duration::from_millis(self.limits.settle_pause_ms));
        }
        self.expiry.due_in(self.environment.clock.unix_ms())
    }

    /// Does what is to be done without a request.
    pub(super) async fn wake(&mut self) -> Result<(), SequencerError> {
        if self.settled { self.write(Vec::new()).await } else { self.probe().await }
    }

    /// Raises the time before which request ids are refused, and returns it: outcomes of before it may be forgotten from now
    /// on, since no batch is being written.
    pub(super) fn raise_trim_mark(&mut self) -> u64 {
        self.retention.mark_ms = self.retention.next_mark_ms(self.environment.clock.unix_ms());
        self.retention.mark_ms
    }

    /// Writes a batch, with what is due, and answers every request of it.
    pub(super) async fn write(&mut self, mut envelopes: Vec<Envelope>) -> Result<(), SequencerError> {
        // Whoever gave up before the batch began is not served any more: nothing of theirs was written.
        envelopes.retain(|envelope| !envelope.is_abandoned());
        if envelopes.is_empty() && !self.expiry.is_due(self.environment.clock.unix_ms()) {
            return Ok(());
        }
        let span = span_of(&envelopes);
        let written = self.write_or_settle(envelopes).instrument(span).await;
        self.unsettled.clear();
        written
    }

    async fn write_or_settle(&mut self, envelopes: Vec<Envelope>) -> Result<(), SequencerError> {
        match self.attempt(&envelopes).await {
            Ok(answers) => {
                answer_all(envelopes, answers);
                Ok(())
            }
            // The store does not take them together: what is due and each request is tried alone, so that one cannot harm
            // the others.
            Err(WriteError::Refused | WriteError::Conflict)
                if envelopes.len() > 1 || self.is_own(&envelopes) =>
            {
                Box::pin(self.write_or_settle(Vec::new())).await?;
                for envelope in envelopes {
                    Box::pin(self.write_or_settle(vec![envelope])).await?;
                }
                Ok(())
            }
            Err(WriteError::Refused | WriteError::Conflict) => {
                self.expiry.put_off(self.environment.clock.unix_ms());
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

    /// Whether a batch has something of the arbiter's own beside its requests.
    fn is_own(&self, envelopes: &[Envelope]) -> bool {
        !envelopes.is_empty() && self.expiry.is_due(self.environment.clock.unix_ms())
    }

    /// One attempt at a batch.
    async fn attempt(
        &mut self,
        envelopes: &[Envelope],
    ) -> Result<Vec<Result<Answer, SubmitError>>, WriteError> {
        if !self.settled {
            self.lead_again().await?;
        }
        let items: Vec<Item<'_>> = envelopes.iter().map(Envelope::item).collect();
        let mut look = Look::AtCache;
        if self.look_first > 0 || !self.unsettled.is_empty() {
            self.look_first = self.look_first.saturating_sub(1);
            look = Look::AtStore;
        }
        let decided = match self.decide_and_commit(envelopes, &items, look).await {
            Err(WriteError::Conflict) if look == Look::AtCache => {
                self.metrics.assumed_wrongly();
                self.look_first = LOOK_FIRST_BATCHES;
                self.decide_and_commit(envelopes, &items, Look::AtStore).await
            }
            decided => decided,
        };
        let mut decided = decided?;
        for (answer, item) in decided.answers.iter_mut().zip(&items) {
            // The first one only: the same request twice in a batch is a repeat all the same.
            if let Ok(answer) = answer
                && self.unsettled.remove(&item.request_id).is_some_and(|tried| tried == answer.outcome)
            {
                answer.replayed = false;
            }
        }
        let answers = std::mem::take(&mut decided.answers);
        self.publish(decided);
        Ok(answers)
    }

    async fn decide_and_commit(
        &mut self,
        envelopes: &[Envelope],
        items: &[Item<'_>],
        look: Look,
    ) -> Result<Decided, WriteError> {
        let now_ms = self.environment.clock.unix_ms();
        let own = self.expiry.due(&self.store, &*self.environment.random, now_ms).await?;
        let ids: Vec<RequestId> = items.iter().map(|item| item.request_id).collect();
        let needs = needs(&own, items);
        let rules = self.limits.rules;
        let terms = Terms { head: self.head.revision, now_ms, rules: &rules, retention: &self.retention };
        let sources = Sources { store: &self.store, cache: &self.cache, stocks: &self.stocks };
        if look == Look::AtCache && needs.is_only_keys() {
            let (state, known) = sources.gather(needs.clone(), &ids, Look::AtCache).await?;
            let decided = decide_batch(&own, items, known, state, terms);
            if decided.unproven.is_empty() {
                self.commit(envelopes, &decided).await?;
                return Ok(decided);
            }
        }
        let (state, known) = sources.gather(needs, &ids, Look::AtStore).await?;
        let decided = decide_batch(&own, items, known, state, terms);
        self.commit(envelopes, &decided).await?;
        Ok(decided)
    }

    /// Commits a new epoch, unless another process took over since, and learns anew what is kept in memory.
    async fn lead_again(&mut self) -> Result<(), WriteError> {
        let head = self.store.lead(self.leader_id, false).await?;
        let head = head.ok_or(WriteError::Ended(SequencerError::Fenced))?;
        let start = super::Start::read(&*self.store, head).await?;
        self.head = head;
        self.expiry.restart(start.next_due_ms);
        self.cache.restart(head.revision, start.stocks.clone());
        self.stocks = start.stocks;
        self.hub.advance(head.revision);
        self.settled = true;
        self.reachable.send_replace(true);
        Ok(())
    }

    /// Asks a store that did not answer whether it does again, so that recovery does not wait for a request.
    async fn probe(&mut self) -> Result<(), SequencerError> {
        match self.lead_again().await {
            Err(WriteError::Ended(error)) => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    async fn commit(&mut self, envelopes: &[Envelope], decided: &Decided) -> Result<(), WriteError> {
        for envelope in envelopes.iter().filter(|envelope| envelope.is_observed()) {
            let size = KeyValue::new("batch.size", signed(envelopes.len()));
            envelope.submission.span.add_event("decided", vec![size]);
        }
        if decided.batch.requests.is_empty() && decided.batch.commits.is_empty() {
            // Only repeats: their outcomes are on the disk already.
            return Ok(());
        }
        let span = trace::within(
            || info_span!(target: CALL_TARGET, "arbiter.store.commit", db.operation.name = "COMMIT"),
        );
        let begin = Instant::now();
        let committed = self.store.commit(&self.head, &decided.batch).instrument(span).await;
        self.metrics.committed(decided.batch.requests.len(), begin.elapsed().as_secs_f64());
        committed.map_err(|error| match error {
            CommitError::Conflict => WriteError::Conflict,
            CommitError::Before(error) => {
                self.settled = false;
                WriteError::from(error)
            }
            CommitError::Unknown(error) => {
                tracing::error!(%error, "the answer to COMMIT was lost");
                let tried = decided.batch.requests.iter();
                self.unsettled.extend(tried.map(|one| (one.request_id, one.outcome.clone())));
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
    fn publish(&mut self, decided: Decided) {
        let batch = decided.batch;
        let Some(last) = batch.commits.last().map(|commit| commit.revision) else { return };
        self.head.revision = last;
        let span = Span::current();
        span.record("batch.commits", batch.commits.len());
        span.record("revision", last);
        self.expiry.follow(&batch.effects);
        self.cache.publish(last, &batch.effects);
        for stock in batch.effects.stocks {
            self.stocks.insert(stock.game_id.clone(), stock);
        }
        self.hub.publish(batch.commits);
    }

    /// Finds out what became of a batch: commits a new epoch over a new connection, which waits for the old transaction's
    /// end either way, and takes the batch again. Requests that were committed are found by their ids.
    async fn settle(&mut self, envelopes: Vec<Envelope>, unknown: bool) -> Result<(), SequencerError> {
        let give_up = Instant::now() + Duration::from_millis(self.limits.settle_timeout_ms);
        let mut unknown = unknown;
        loop {
            self.settled = false;
            self.metrics.settled();
            match self.attempt(&envelopes).await {
                Ok(answers) => {
                    answer_all(envelopes, answers);
                    return Ok(());
                }
                Err(WriteError::Ended(error)) => {
                    answer_error(envelopes, &told(unknown, SubmitError::from(&error)));
                    return Err(error);
                }
                // As without an outage: one that the store does not take must not harm the others.
                Err(WriteError::Refused | WriteError::Conflict) if envelopes.len() > 1 => {
                    for envelope in envelopes {
                        Box::pin(self.settle(vec![envelope], unknown)).await?;
                    }
                    return Ok(());
                }
                Err(WriteError::Refused | WriteError::Conflict) => {
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

/// The span of a batch, which is a trace of its own, since many requests share it; each request's span is linked with it. There
/// is none where nobody looks at any of the requests.
fn span_of(envelopes: &[Envelope]) -> Span {
    if !envelopes.iter().any(Envelope::is_observed) {
        return Span::none();
    }
    let span = trace::recorded(|| {
        info_span!(
            target: CALL_TARGET,
            parent: None,
            "arbiter.batch",
            batch.size = envelopes.len(),
            batch.commits = tracing::field::Empty,
            revision = tracing::field::Empty,
        )
    });
    let context = span.context().span().span_context().clone();
    for envelope in envelopes.iter().filter(|envelope| envelope.is_observed()) {
        envelope.submission.span.record("batch.size", envelopes.len());
        if context.is_valid() {
            envelope.submission.span.add_link(context.clone());
        }
    }
    span
}

/// OpenTelemetry's numbers are signed.
fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
