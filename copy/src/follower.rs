//! The task that keeps the copy: opens the stream, applies what comes, and begins again for as long as the service runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gameshelf::tokens::Token;
use mesh::environment::Environment;
use mesh::trace;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::backoff::Backoff;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::model::{Batch, Commit, Row};
use crate::options::Options;
use crate::progress::{Progress, Step};
use crate::source::{Begin, Ended, Reader, RebuildCause, Source};
use crate::status::{DigestState, Link, Status};
use crate::target::Target;
use crate::work::Work;

/// Keeps the copy.
#[derive(Debug)]
pub(crate) struct Follower<T> {
    pub(crate) target: Arc<T>,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Metrics,
    pub(crate) source: Source,
    pub(crate) options: Options,
    pub(crate) environment: Environment,
    backoff: Backoff,
    /// Why the stream cannot be resumed from where the copy stands.
    needs_snapshot: Option<RebuildCause>,
    /// What the rows add up to; and those of the snapshot that is gathered.
    pub(crate) ledger: Ledger,
    staged: Ledger,
    /// When all rows of a partition are read again.
    pub(crate) next_scrub: Instant,
    /// When a repair may be tried again that was in vain.
    pub(crate) repair_after: Option<Instant>,
}

impl<T: Target> Follower<T> {
    pub(crate) fn new(
        target: Arc<T>,
        status: Arc<Status>,
        metrics: Metrics,
        source: Source,
        options: Options,
        environment: Environment,
    ) -> Self {
        Self {
            backoff: Backoff::new(options.backoff_base, options.backoff_max),
            next_scrub: environment.clock.monotonic(),
            target,
            status,
            metrics,
            source,
            options,
            environment,
            needs_snapshot: None,
            ledger: Ledger::unknown(),
            staged: Ledger::empty(),
            repair_after: None,
        }
    }

    /// Follows the arbiter until the shutdown. Whatever is cut off by that is begun again at the next start.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let follow = async {
            loop {
                let Err(ended) = self.session().await;
                let was_up = self.status.set_link(Link::Down) != Link::Down;
                let cause = ended.needs_snapshot();
                let is_news = was_up || self.backoff.is_first() || cause.is_some();
                if cause.is_some() {
                    self.needs_snapshot = cause;
                    self.status.set_rebuilding(cause);
                }
                if matches!(ended, Ended::Target(_)) {
                    // Whether a failed transaction was written is not known: the rows are read again.
                    self.ledger = Ledger::unknown();
                }
                let wait = self.backoff.next(self.environment.random.as_ref());
                self.tell(&ended, wait, is_news);
                tokio::time::sleep(wait).await;
            }
        };
        shutdown.run_until_cancelled(follow).await;
    }

    /// Logs why the arbiter is not followed: once, and not again for each attempt of a long outage.
    fn tell(&self, ended: &Ended, wait: Duration, is_news: bool) {
        let wait_ms = wait.as_millis();
        let from_snapshot = self.needs_snapshot.map(RebuildCause::as_str);
        if is_news {
            tracing::warn!(reason = %ended, wait_ms, from_snapshot, "the arbiter is not followed; trying until it is");
        } else {
            tracing::debug!(reason = %ended, wait_ms, from_snapshot, "the arbiter is not followed yet");
        }
    }

    /// Follows one stream until it ends.
    async fn session(&mut self) -> Result<Infallible, Ended> {
        let checkpoint = self.target.checkpoint().await.map_err(failed)?;
        match (checkpoint, self.needs_snapshot) {
            (Some(token), None) => self.resume(token).await,
            (_, cause) => self.rebuild(cause.unwrap_or(RebuildCause::First)).await,
        }
    }

    async fn resume(&mut self, token: Token) -> Result<Infallible, Ended> {
        let reader = self.source.open(Begin::After(token)).await?;
        self.status.set_link(Link::Following);
        tracing::info!(revision = token.revision, "the arbiter is followed from the checkpoint");
        self.follow(reader, Progress::Following(token)).await
    }

    async fn rebuild(&mut self, cause: RebuildCause) -> Result<Infallible, Ended> {
        self.status.set_rebuilding(Some(cause));
        self.target.begin().await.map_err(failed)?;
        self.staged = Ledger::empty();
        let reader = self.source.open(Begin::Newest).await?;
        self.status.set_link(Link::Building);
        self.metrics.rebuilt(cause);
        tracing::info!(cause = cause.as_str(), "the copy is built from a snapshot");
        self.follow(reader, Progress::Building { revision: None }).await
    }

    async fn follow(&mut self, mut reader: Reader, mut progress: Progress) -> Result<Infallible, Ended> {
        // Whether what is written belongs to the copy that serves; `progress` is ahead of what is written.
        let mut is_current = matches!(progress, Progress::Following(_));
        let mut sweep_needed = true;
        let mut left: Option<Step> = None;
        loop {
            let step = match left.take() {
                Some(step) => step,
                None => progress.advance(self.next_event(&mut reader, is_current).await?)?,
            };
            let mut work = Work::from(step);
            // What waits already is taken into the same transaction: a copy that is behind catches up by that.
            while left.is_none() && work.rows() < self.options.batch_max_rows {
                let Some(event) = reader.try_next() else { break };
                left = work.join(progress.advance(event)?);
            }
            self.metrics.queued(reader.waiting());
            let swaps = matches!(work, Work::Swap(_));
            self.execute(work).await?;
            // Not before the swap is committed: until then what is gathered would be swept too.
            if swaps {
                is_current = true;
                sweep_needed = true;
            } else if is_current {
                // A snapshot alone is no reason to try sooner: a stream that breaks behind each would be asked for it
                // again and again.
                self.backoff.reset();
            }
            if is_current && sweep_needed {
                sweep_needed = self.target.sweep().await.map_err(failed)?;
            }
        }
    }

    /// Waits for the next event, and uses the time to read rows again where that is due.
    async fn next_event(&mut self, reader: &mut Reader, is_current: bool) -> Result<Event, Ended> {
        if !is_current || !self.options.check {
            return reader.next().await;
        }
        loop {
            let wait = self.scrub_when_due().await?;
            tokio::select! {
                // What is to be applied goes first: reading again is not urgent.
                biased;
                event = reader.next() => return event,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn execute(&mut self, work: Work) -> Result<(), Ended> {
        match work {
            Work::Idle => Ok(()),
            Work::Check(token, digests) => self.check(token, &digests).await,
            Work::Gather(rows) => {
                self.staged.add(&rows);
                self.target.stage(rows).await.map_err(failed)
            }
            Work::Swap(token) => {
                self.target.swap(token).await.map_err(failed)?;
                self.ledger = std::mem::replace(&mut self.staged, Ledger::empty());
                self.needs_snapshot = None;
                self.status.applied(token);
                self.status.set_digest_state(DigestState::Unknown);
                self.status.set_rebuilding(None);
                self.status.set_link(Link::Following);
                tracing::info!(revision = token.revision, "the copy is complete");
                Ok(())
            }
            Work::Apply { from, to, commits } => self.apply(from, to, &commits).await,
        }
    }

    async fn apply(&mut self, from: Token, to: Token, commits: &[Commit]) -> Result<(), Ended> {
        let span = tracing::info_span!(
            "copy.apply",
            commits = commits.len(),
            from_revision = from.revision,
            to_revision = to.revision
        );
        let joined: Vec<Span> = commits.iter().filter_map(|commit| span_in_trace_of(commit, &span)).collect();
        let begin = self.environment.clock.monotonic();
        let batch = Batch::new(from, to, commits);
        let before: Vec<Row> = self.target.apply(&batch).instrument(span).await.map_err(failed)?;
        drop(joined);
        self.ledger.apply(&before, &batch.net);
        let took = self.environment.clock.monotonic().saturating_duration_since(begin);
        self.metrics.applied(commits.len(), took);
        self.status.applied(to);
        Ok(())
    }
}

/// Rows could not be read or written: the session begins again.
pub(crate) fn failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> Ended {
    Ended::Target(Box::new(error))
}

/// The copy's part in the trace of the request that a commit is the effect of, where that is recorded: it lasts until the
/// copy has the commit. The transaction serves many requests, so it is a trace of its own, and linked.
fn span_in_trace_of(commit: &Commit, apply: &Span) -> Option<Span> {
    if commit.traceparent.is_empty() {
        return None;
    }
    let span = trace::child_of(
        &commit.traceparent,
        || tracing::info_span!(parent: None, "copy.commit", revision = commit.revision),
    );
    trace::link(&span, apply);
    Some(span)
}
