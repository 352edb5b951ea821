//! The task that keeps the copy: opens the stream, applies what comes, and begins again for as long as the service runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::{SnapshotStart, WatchRequest};
use gameshelf::tokens::Token;
use mesh::environment::Environment;
use mesh::outbound::Streams;
use mesh::trace;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::backoff::Backoff;
use super::progress::{Progress, Step};
use super::status::{Link, Status};
use super::stream::{Ended, Reader};
use super::work::Work;
use crate::metrics::Metrics;
use crate::model::Commit;
use crate::store::Store;

/// How the arbiter is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowerOptions {
    /// How long a stream may be silent.
    pub(crate) silence_max: Duration,
    /// The wait after the first failure; it doubles with each further one.
    pub(crate) backoff_base: Duration,
    /// The longest wait.
    pub(crate) backoff_max: Duration,
    /// The most messages that wait to be applied.
    pub(crate) queue_max: usize,
    /// About how many rows share a transaction; one message may have more.
    pub(crate) batch_max_rows: usize,
}

/// Keeps the copy.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Arc<Store>,
    status: Arc<Status>,
    metrics: Metrics,
    arbiter: ArbiterServiceClient<Streams>,
    options: FollowerOptions,
    environment: Environment,
    backoff: Backoff,
    /// Whether the stream cannot be resumed from where the copy stands.
    needs_snapshot: bool,
}

impl Follower {
    pub(crate) fn new(
        store: Arc<Store>,
        status: Arc<Status>,
        metrics: Metrics,
        arbiter: ArbiterServiceClient<Streams>,
        options: FollowerOptions,
        environment: Environment,
    ) -> Self {
        let backoff = Backoff::new(options.backoff_base, options.backoff_max);
        Self { store, status, metrics, arbiter, options, environment, backoff, needs_snapshot: false }
    }

    /// Follows the arbiter until the shutdown. Whatever is cut off by that is begun again at the next start.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let follow = async {
            loop {
                let Err(ended) = self.session().await;
                let was_up = self.status.set_link(Link::Down) != Link::Down;
                let is_news = was_up || self.backoff.is_first() || ended.needs_snapshot();
                self.needs_snapshot |= ended.needs_snapshot();
                let wait = self.backoff.next(self.environment.random.as_ref());
                self.tell(&ended, wait, is_news);
                tokio::time::sleep(wait).await;
            }
        };
        shutdown.run_until_cancelled(follow).await;
    }

    /// Logs why the arbiter is not followed: once, and not again for each attempt of a long outage.
    fn tell(&self, ended: &Ended, wait: Duration, is_news: bool) {
        let (wait_ms, from_snapshot) = (wait.as_millis(), self.needs_snapshot);
        if is_news {
            tracing::warn!(reason = %ended, wait_ms, from_snapshot, "the arbiter is not followed; trying until it is");
        } else {
            tracing::debug!(reason = %ended, wait_ms, from_snapshot, "the arbiter is not followed yet");
        }
    }

    /// Follows one stream until it ends.
    async fn session(&mut self) -> Result<Infallible, Ended> {
        let checkpoint = self.store.checkpoint().await?;
        match checkpoint.filter(|_| !self.needs_snapshot) {
            Some(token) => self.resume(token).await,
            None => self.rebuild().await,
        }
    }

    async fn resume(&mut self, token: Token) -> Result<Infallible, Ended> {
        let reader = self.open(Start::AfterToken(token.to_string())).await?;
        self.status.set_link(Link::Following);
        tracing::info!(revision = token.revision, "the arbiter is followed from the checkpoint");
        // Nothing is gathered in a stream that was resumed, so its generation is never used.
        self.follow(reader, Progress::Following(token), 0).await
    }

    async fn rebuild(&mut self) -> Result<Infallible, Ended> {
        let generation = self.store.begin_build().await?;
        let reader = self.open(Start::Snapshot(SnapshotStart::default())).await?;
        self.status.set_link(Link::Building);
        tracing::info!("the copy is built from a snapshot");
        self.follow(reader, Progress::Building { revision: None }, generation).await
    }

    async fn open(&mut self, start: Start) -> Result<Reader, Ended> {
        let response =
            self.arbiter.watch(WatchRequest { start: Some(start), ..WatchRequest::default() }).await?;
        Ok(Reader::start(response.into_inner(), self.options.silence_max, self.options.queue_max))
    }

    async fn follow(
        &mut self,
        mut reader: Reader,
        mut progress: Progress,
        generation: i64,
    ) -> Result<Infallible, Ended> {
        // Whether what is written belongs to the copy that serves; `progress` is ahead of what is written.
        let mut is_current = matches!(progress, Progress::Following(_));
        let mut sweep_needed = true;
        let mut left: Option<Step> = None;
        loop {
            let step = match left.take() {
                Some(step) => step,
                None => progress.advance(reader.next().await?)?,
            };
            let mut work = Work::from(step);
            // What waits already is taken into the same transaction: a copy that is behind catches up by that.
            while left.is_none() && work.rows() < self.options.batch_max_rows {
                let Some(event) = reader.try_next() else { break };
                left = work.join(progress.advance(event)?);
            }
            let swaps = matches!(work, Work::Swap(_));
            self.execute(work, generation).await?;
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
                sweep_needed = self.store.sweep().await?;
            }
        }
    }

    async fn execute(&mut self, work: Work, generation: i64) -> Result<(), Ended> {
        match work {
            Work::Idle => {}
            Work::Gather(rows) => self.store.gather(generation, &rows).await?,
            Work::Swap(token) => {
                self.store.swap(generation, token).await?;
                self.needs_snapshot = false;
                self.status.applied(token);
                self.status.set_link(Link::Following);
                tracing::info!(revision = token.revision, "the copy is complete");
            }
            Work::Apply { from, to, commits } => {
                let span = tracing::info_span!(
                    "copy.apply",
                    commits = commits.len(),
                    from_revision = from.revision,
                    to_revision = to.revision
                );
                let joined: Vec<Span> =
                    commits.iter().filter_map(|commit| span_in_trace_of(commit, &span)).collect();
                let begin = self.environment.clock.monotonic();
                self.store.apply(from, to, &commits).instrument(span).await?;
                drop(joined);
                let took = self.environment.clock.monotonic().saturating_duration_since(begin);
                self.metrics.applied(commits.len(), took);
                self.status.applied(to);
            }
        }
        Ok(())
    }
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
