//! Takes a batch through the store: load, decide, commit, answer. And settles what the store leaves unknown.

mod doubt;
mod error;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mesh::environment::Environment;
use mesh::telemetry::CALL_TARGET;
use mesh::trace;
use opentelemetry::KeyValue;
use opentelemetry::trace::TraceContextExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use doubt::Doubt;
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
use crate::digests::LiveDigests;
use crate::domain::{GameId, RequestId, Stock};
use crate::store::{CommitError, Head, SharedStore, StoreError, StoredRequest};
use crate::watch::Hub;

/// A store that answers at all gets at least this long to do it, however little time is left.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// How long one attempt to find out whether the store answers again may take, where nobody waits for it.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// For how many batches the store is asked first after one was decided on a wrong assumption.
const LOOK_FIRST_BATCHES: u32 = 16;

/// What was not known when writing ended by itself.
pub(super) type LeftInDoubt = Arc<OnceLock<Doubt>>;

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
    digests: Arc<LiveDigests>,
    /// The stocks as of the head.
    stocks: HashMap<GameId, Stock>,
    expiry: Expiry,
    retention: Retention,
    /// What became of these is not known.
    doubt: Doubt,
    /// Those that were left when writing ended.
    left_in_doubt: LeftInDoubt,
    /// Until when a batch that is settled may take to commit: its callers have waited before.
    commit_by: Option<Instant>,
    /// For how many more batches the store is asked before they are decided.
    look_first: u32,
    /// What this batch tried to write by a COMMIT whose answer was lost.
    unsettled: HashMap<RequestId, Arc<StoredRequest>>,
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
            digests: lead.digests,
            stocks: lead.start.stocks,
            expiry: Expiry::new(lead.start.next_due_ms, limits.batch_requests),
            retention,
            doubt: Doubt::default(),
            left_in_doubt: LeftInDoubt::default(),
            commit_by: None,
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

    pub(super) fn left_in_doubt(&self) -> LeftInDoubt {
        Arc::clone(&self.left_in_doubt)
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
        let (begin, was_settled) = (Instant::now(), self.settled);
        self.commit_by = None;
        match self.attempt(&envelopes, self.give_up(begin)).await {
            Ok(answers) => {
                answer_all(envelopes, answers);
                Ok(())
            }
            // The store does not take them together: what is due and each request is tried alone, so that one cannot harm
            // the others.
            Err(WriteError::Refused | WriteError::Conflict)
                if envelopes.len() > 1 || self.is_own(&envelopes) =>
            {
                let mut rest = VecDeque::from(envelopes);
                let mut written = Box::pin(self.write_or_settle(Vec::new())).await;
                while let (Ok(()), Some(envelope)) = (&written, rest.pop_front()) {
                    written = Box::pin(self.write_or_settle(vec![envelope])).await;
                }
                self.end_rest(rest, written, false)
            }
            Err(WriteError::Refused | WriteError::Conflict) => {
                self.expiry.put_off(self.environment.clock.unix_ms());
                self.answer_error(envelopes, &SubmitError::Defect, false);
                Ok(())
            }
            Err(error @ (WriteError::Unreachable | WriteError::Unknown)) => {
                // The time to settle begins with the failure, unless the store was away already.
                let begin = if was_settled { Instant::now() } else { begin };
                let unknown = matches!(error, WriteError::Unknown);
                self.settle(envelopes, unknown, self.give_up(begin)).await
            }
            Err(WriteError::Ended(error)) => {
                self.answer_error(envelopes, &SubmitError::from(&error), false);
                Err(error)
            }
        }
    }

    /// When to tell callers that the store does not answer.
    fn give_up(&self, begin: Instant) -> Instant {
        begin + Duration::from_millis(self.limits.settle_timeout_ms)
    }

    /// Answers those of whom nothing was written, now that writing has ended.
    pub(super) fn end(&mut self, rest: Vec<Envelope>, error: &SequencerError) {
        let told = match error {
            SequencerError::Fenced => SubmitError::NotLeader,
            SequencerError::Fatal(_) => SubmitError::Stopped,
        };
        self.answer_error(rest, &told, false);
        // Writing ends once.
        let _ = self.left_in_doubt.set(std::mem::take(&mut self.doubt));
    }

    /// When writing has ended, those that are still to come are told too.
    fn end_rest(
        &mut self,
        rest: VecDeque<Envelope>,
        written: Result<(), SequencerError>,
        unknown: bool,
    ) -> Result<(), SequencerError> {
        if let Err(error) = &written {
            self.answer_error(rest.into(), &SubmitError::from(error), unknown);
        }
        written
    }

    /// Answers with an error that says that nothing was written, where that is certain.
    fn answer_error(&mut self, envelopes: Vec<Envelope>, error: &SubmitError, unknown: bool) {
        for envelope in envelopes {
            let request_id = envelope.submission.request_id;
            if unknown || *error == SubmitError::OutcomeUnknown {
                self.doubt.add(request_id);
            }
            let told = if self.doubt.contains(request_id) { &SubmitError::OutcomeUnknown } else { error };
            envelope.answer(Err(told.clone()));
        }
    }

    /// Whether a batch has something of the arbiter's own beside its requests.
    fn is_own(&self, envelopes: &[Envelope]) -> bool {
        !envelopes.is_empty() && self.expiry.is_due(self.environment.clock.unix_ms())
    }

    /// One attempt at a batch. A store that is away is waited for until `give_up`.
    async fn attempt(
        &mut self,
        envelopes: &[Envelope],
        give_up: Instant,
    ) -> Result<Vec<Result<Answer, SubmitError>>, WriteError> {
        if !self.settled {
            self.lead_again(give_up).await?;
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
        for item in &items {
            // Whoever comes after it under the same id repeats it.
            self.unsettled.remove(&item.request_id);
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
        let needs = needs(&own, items);
        let rules = self.limits.rules;
        let terms = Terms {
            head: self.head.revision,
            now_ms,
            rules: &rules,
            retention: &self.retention,
            tried: &self.unsettled,
        };
        let sources = Sources { store: &self.store, cache: &self.cache, stocks: &self.stocks };
        if look == Look::AtCache && needs.is_only_keys() {
            let mut decided = decide_batch(&own, items, Vec::new(), sources.assume(&needs), terms);
            if decided.unproven.is_empty() {
                self.commit(envelopes, &mut decided).await?;
                return Ok(decided);
            }
        }
        let ids: Vec<RequestId> = items.iter().map(|item| item.request_id).collect();
        let (state, known) = sources.gather(needs, &ids).await?;
        let mut decided = decide_batch(&own, items, known, state, terms);
        self.commit(envelopes, &mut decided).await?;
        Ok(decided)
    }

    /// Commits a new epoch, unless another process took over since, and learns anew what is kept in memory. It is given up in
    /// time: whoever waits for an answer must hear before their own patience ends.
    async fn lead_again(&mut self, give_up: Instant) -> Result<(), WriteError> {
        let give_up = give_up.max(Instant::now() + PATIENCE_MIN);
        let led = async {
            let Some(head) = self.store.lead(self.leader_id, false).await? else { return Ok(None) };
            self.digests.catch_up(&*self.store, head.revision).await?;
            super::Start::read(&*self.store, head).await.map(Some)
        };
        let led: Result<_, StoreError> =
            timeout_at(give_up, led).await.map_err(|_| WriteError::Unreachable)?;
        let start = led?.ok_or(WriteError::Ended(SequencerError::Fenced))?;
        let head = start.head;
        self.head = head;
        self.expiry.restart(start.next_due_ms);
        self.cache.restart(head.revision, start.stocks.clone());
        self.stocks = start.stocks;
        self.hub.advance(head.revision);
        self.doubt.clear();
        self.settled = true;
        self.reachable.send_replace(true);
        Ok(())
    }

    /// Asks a store that did not answer whether it does again, so that recovery does not wait for a request.
    async fn probe(&mut self) -> Result<(), SequencerError> {
        match self.lead_again(Instant::now() + PROBE_PATIENCE).await {
            Err(WriteError::Ended(error)) => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    async fn commit(&mut self, envelopes: &[Envelope], decided: &mut Decided) -> Result<(), WriteError> {
        for envelope in envelopes.iter().filter(|envelope| envelope.is_observed()) {
            let size = KeyValue::new("batch.size", signed(envelopes.len()));
            envelope.submission.span.add_event("decided", vec![size]);
        }
        if decided.batch.requests.is_empty() && decided.batch.commits.is_empty() {
            // Only repeats: their outcomes are on the disk already.
            return Ok(());
        }
        // A batch of refusals alone has nothing new for a checkpoint, and nothing is published that would take note of one.
        if !decided.batch.commits.is_empty() {
            let is_asked_for = self.hub.take_asked_to_keep_less();
            decided.batch.checkpoint = self.digests.due_checkpoint(&decided.batch.commits, is_asked_for);
        }
        let left = |by: Instant| by.saturating_duration_since(Instant::now()).max(PATIENCE_MIN);
        decided.batch.patience = self.commit_by.map(left);
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
                self.unsettled.extend(tried.map(|one| (one.request_id, Arc::clone(one))));
                self.settled = false;
                WriteError::Unknown
            }
            CommitError::Fenced => {
                // Another process leads, or a new epoch of this one arrived late: leading again tells.
                self.settled = false;
                WriteError::Unreachable
            }
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
        // Before the hub's revision rises: who follows it finds the digests of the newest revision.
        let checkpoint = batch.checkpoint.map(|sums| sums.revision);
        self.digests.follow(&batch.commits, checkpoint);
        if let Some(revision) = checkpoint {
            self.hub.keep_after(revision);
        }
        for stock in batch.effects.stocks {
            self.stocks.insert(stock.game_id.clone(), stock);
        }
        self.hub.publish(batch.commits);
    }

    /// Finds out what became of a batch: commits a new epoch over a new connection, which waits for the old transaction's
    /// end either way, and takes the batch again. Requests that were committed are found by their ids.
    async fn settle(
        &mut self,
        envelopes: Vec<Envelope>,
        unknown: bool,
        give_up: Instant,
    ) -> Result<(), SequencerError> {
        let mut unknown = unknown;
        loop {
            self.settled = false;
            self.commit_by = Some(give_up);
            self.metrics.settled();
            match self.attempt(&envelopes, give_up).await {
                Ok(answers) => {
                    answer_all(envelopes, answers);
                    return Ok(());
                }
                Err(WriteError::Ended(error)) => {
                    self.answer_error(envelopes, &SubmitError::from(&error), unknown);
                    return Err(error);
                }
                // As without an outage: one that the store does not take must not harm the others.
                Err(WriteError::Refused | WriteError::Conflict) if envelopes.len() > 1 => {
                    let mut rest = VecDeque::from(envelopes);
                    let mut written = Ok(());
                    while let (Ok(()), Some(envelope)) = (&written, rest.pop_front()) {
                        written = Box::pin(self.settle(vec![envelope], unknown, give_up)).await;
                    }
                    return self.end_rest(rest, written, unknown);
                }
                Err(WriteError::Refused | WriteError::Conflict) => {
                    self.answer_error(envelopes, &SubmitError::Defect, unknown);
                    return Ok(());
                }
                Err(WriteError::Unknown) => unknown = true,
                Err(WriteError::Unreachable) => {}
            }
            if Instant::now() >= give_up {
                self.reachable.send_replace(false);
                self.answer_error(envelopes, &SubmitError::StoreUnavailable, unknown);
                return Ok(());
            }
            sleep(Duration::from_millis(self.limits.settle_pause_ms)).await;
        }
    }
}

fn answer_all(envelopes: Vec<Envelope>, answers: Vec<Result<Answer, SubmitError>>) {
    for (envelope, answer) in envelopes.into_iter().zip(answers) {
        envelope.answer(answer);
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
