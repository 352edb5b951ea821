//! A stream of large commits: each request of it is a commit of its own, a few are in flight, and the answers keep their order.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::import_response::Outcome;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};

use super::core::{Core, CoreSlot};
use super::errors;
use super::refusals::told;
use super::requests::{self, ImportRows, RequestLimits};
use crate::domain::{RefusalKind, Verdict};
use crate::sequencer::Answer;

/// The limits of imports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImportLimits {
    /// The most streams at once.
    pub(crate) streams: usize,
    /// The most requests of one stream that are read and not answered.
    pub(crate) in_flight: usize,
}

/// What imports share.
#[derive(Debug)]
pub(crate) struct Imports {
    slots: Arc<Semaphore>,
    limits: ImportLimits,
    draining: CancellationToken,
    /// Rows by what became of them.
    rows: Counter<u64>,
}

impl Imports {
    /// Imports run until `draining` is cancelled; then what was read is answered, and no more is read.
    pub(crate) fn new(limits: ImportLimits, draining: CancellationToken) -> Self {
        let rows = global::meter("gameshelf.arbiter")
            .u64_counter("gameshelf.arbiter.import.rows")
            .with_description("Rows of imports, by what became of them.")
            .with_unit("{row}")
            .build();
        let slots = Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS)));
        Self { slots, limits, draining, rows }
    }

    fn open(&self) -> Result<OwnedSemaphorePermit, Status> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map_err(|_| errors::too_many_imports(self.limits.streams))
    }

    fn count(&self, rows: usize, outcome: &'static str) {
        if rows > 0 {
            self.rows.add(rows as u64, &[KeyValue::new("outcome", outcome)]);
        }
    }
}

type Answered = Result<wire::ImportResponse, Status>;

/// Answers each request of a stream. When as many are in flight as may be, no further one is read.
pub(super) fn import(
    slot: &CoreSlot,
    limits: RequestLimits,
    requests: impl Stream<Item = Result<wire::ImportRequest, Status>> + Send + 'static,
) -> Result<impl Stream<Item = Answered> + Send + 'static, Status> {
    let core = slot.get().ok_or_else(errors::not_open)?;
    core.check_seen()?;
    let permit = core.imports.open()?;
    let (in_flight, draining) = (core.imports.limits.in_flight.max(1), core.imports.draining.clone());
    let (slot, span) = (Arc::clone(slot), Span::current());
    let answers = requests.take_until(draining.clone().cancelled_owned()).map(move |request| {
        let slot = Arc::clone(&slot);
        let answer = async move { slot.get().ok_or_else(errors::not_open)?.import(&request?, &limits).await };
        answer.instrument(span.clone())
    });
    // Whoever is cut off by a drain must not take the end of the answers for the end of the import.
    let end = stream::once(async move { draining.is_cancelled().then(|| Err(errors::draining())) });
    let end = end.filter_map(std::future::ready);
    // The place is given back when the stream is dropped.
    Ok(answers.buffered(in_flight).chain(end).inspect(move |_| {
        let _ = &permit;
    }))
}

impl Core {
    async fn import(&self, request: &wire::ImportRequest, limits: &RequestLimits) -> Answered {
        let request_id = request.request_id.clone();
        let write = match requests::import(request, limits)? {
            ImportRows::Good(write) => write,
            ImportRows::Wrong(wrong) => {
                let rows =
                    wrong.into_iter().map(|one| rejected(one.row, ("INVALID_FIELD", one.why))).collect();
                return Ok(self.refuse(request_id, rows));
            }
        };
        let (_, Answer { outcome, replayed }) = self.submit(write).await?;
        let revision = outcome.revision;
        match outcome.verdict {
            Verdict::Accepted { changed, .. } => {
                let already_owned: Vec<u32> =
                    (0..).zip(&changed).filter(|(_, changed)| !**changed).map(|(place, _)| place).collect();
                self.imports.count(changed.len() - already_owned.len(), "granted");
                self.imports.count(already_owned.len(), "already_owned");
                let token = self.token(revision).to_string();
                let done = wire::ImportDone { revision, token, replayed, already_owned };
                Ok(wire::ImportResponse { request_id, outcome: Some(Outcome::Done(done)) })
            }
            Verdict::Refused { items } => {
                let told = |kind: RefusalKind| {
                    let (reason, what, _) = told(kind);
                    (reason.as_str(), what.to_owned())
                };
                let rows = items.into_iter().map(|(row, kind)| rejected(row, told(kind))).collect();
                Ok(self.refuse(request_id, rows))
            }
        }
    }

    fn refuse(&self, request_id: String, rows: Vec<wire::RejectedRow>) -> wire::ImportResponse {
        self.imports.count(rows.len(), "rejected");
        let refused = wire::ImportRefused { rows };
        wire::ImportResponse { request_id, outcome: Some(Outcome::Refused(refused)) }
    }
}

fn rejected(row: u32, (reason, description): (&str, String)) -> wire::RejectedRow {
    wire::RejectedRow { row, reason: reason.to_owned(), description }
}
