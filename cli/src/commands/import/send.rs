//! Sends the rows of an import over one stream, a bounded number of requests in flight. When the stream breaks, what was not answered
//! is sent again over another one, each request under its own id.

mod chunks;
mod tally;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use gameshelf::proto::arbiter::v1::ImportResponse;
use gameshelf::proto::arbiter::v1::import_response::Outcome;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use chunks::{Chunk, Chunks};
pub(super) use tally::Sent;
use tally::Tally;

use super::rows::{Rejected, Row};
use crate::clients::Clients;
use crate::commands::patience::Patience;
use crate::commands::{hints, progress};
use crate::exit::{Failure, Kind};

/// Between two streams.
const WAITS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(1);

/// What bounds the sending.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) changes_per_request: usize,
    pub(super) in_flight: usize,
    /// How long a request is tried again after the first failure in a row.
    pub(super) give_up_after: Duration,
    /// Tells an import from an earlier one of the same rows.
    pub(super) import_id: String,
}

/// Imports every row, and skips what is owned already.
///
/// # Errors
///
/// The first failure that another try does not help, or that lasts too long. What was granted by then stays granted.
pub(super) async fn send(rows: &[Row], clients: &Clients, limits: &Limits) -> Result<Sent, Failure> {
    let mut patience = Patience::new(&clients.environment().clock, limits.give_up_after, WAITS);
    let progress = progress::bar(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    let mut sending = Sending {
        rows,
        chunks: Chunks::new(rows.len(), limits),
        in_flight: VecDeque::new(),
        tally: Tally::default(),
        progress: progress.clone(),
    };
    loop {
        let answered = sending.tally.requests();
        let Err(status) = sending.stream(clients, limits.in_flight).await? else {
            progress.finish_and_clear();
            return Ok(sending.tally.sent());
        };
        sending.take_back();
        if sending.tally.requests() > answered {
            patience.answered();
        }
        if !is_worth_a_retry(&status) || !patience.wait().await {
            progress.abandon();
            return Err(stopped(hints::failed(&status, clients), &sending.tally, rows.len()));
        }
    }
}

struct Sending<'a> {
    rows: &'a [Row],
    chunks: Chunks,
    /// What was sent and not answered, in order.
    in_flight: VecDeque<Chunk>,
    tally: Tally,
    progress: ProgressBar,
}

impl Sending<'_> {
    /// Sends what is left over one stream. Returns how that ended; it ends well when everything is answered.
    async fn stream(&mut self, clients: &Clients, in_flight: usize) -> Result<Result<(), Status>, Failure> {
        if self.chunks.is_empty() {
            return Ok(Ok(()));
        }
        let (sender, requests) = mpsc::channel(in_flight);
        let mut client = clients.arbiter_streams()?;
        let mut answers = match client.import(ReceiverStream::new(requests)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        loop {
            // The queue has room for as many, so that nothing is waited for here.
            while self.in_flight.len() < in_flight
                && let Some(chunk) = self.chunks.next(self.rows)
            {
                if sender.try_send(Chunks::request(&chunk, self.rows)).is_err() {
                    // The stream is ending, and says why.
                    self.chunks.again(chunk);
                    break;
                }
                self.in_flight.push_back(chunk);
            }
            if self.in_flight.is_empty() && self.chunks.is_empty() {
                return Ok(Ok(()));
            }
            match answers.message().await {
                Ok(Some(answer)) => self.answered(answer)?,
                Ok(None) => return Ok(Err(Status::unavailable("the stream ended"))),
                Err(status) => return Ok(Err(status)),
            }
        }
    }

    fn answered(&mut self, answer: ImportResponse) -> Result<(), Failure> {
        let chunk = self.in_flight.pop_front().filter(|chunk| chunk.request_id == answer.request_id);
        let (Some(chunk), Some(outcome)) = (chunk, answer.outcome) else {
            return Err(Failure::new(Kind::Defect, "ANSWER", "the arbiter answered what was not asked"));
        };
        match outcome {
            Outcome::Done(done) => {
                self.progress.inc(u64::try_from(chunk.rows.len()).unwrap_or(0));
                self.tally.done(&chunk, &done, self.rows);
            }
            Outcome::Refused(refused) => {
                let wrong: Vec<usize> = refused
                    .rows
                    .iter()
                    .filter_map(|rejected| {
                        let place = *chunk.rows.get(usize::try_from(rejected.row).ok()?)?;
                        let row = self.rows.get(place)?;
                        self.tally.rejected(Rejected {
                            line: row.line,
                            reason: rejected.description.clone(),
                            customer_id: row.customer_id.to_string(),
                            game_title: row.game_id.to_string(),
                        });
                        Some(place)
                    })
                    .collect();
                if wrong.is_empty() {
                    return Err(Failure::new(
                        Kind::Defect,
                        "ANSWER",
                        "the arbiter refused rows and named none",
                    ));
                }
                self.progress.inc(u64::try_from(wrong.len()).unwrap_or(0));
                self.tally.refused();
                self.chunks.without(chunk, &wrong, self.rows);
            }
        }
        Ok(())
    }

    /// What was not answered is to be sent again, in the same order.
    fn take_back(&mut self) {
        while let Some(chunk) = self.in_flight.pop_back() {
            self.chunks.again(chunk);
        }
    }
}

/// The arbiter is down, is starting again, has a full queue or was too slow.
fn is_worth_a_retry(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

fn stopped(failure: Failure, tally: &Tally, rows: usize) -> Failure {
    let done = tally.rows();
    failure
        .while_doing(&format!("the import stopped after {done} of {rows} rows"))
        .with("rows_done", done)
        .with("rows", rows)
        .hint("run it again: what was imported by then is left alone")
}
