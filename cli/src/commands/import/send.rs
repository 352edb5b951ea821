//! Sends the grants of an import: a bounded number in flight, each tried again under its own id.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::time::Duration;

use gameshelf::ids::CustomerId;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::grant_result::Status as Granted;
use gameshelf::proto::arbiter::v1::{Cause, GrantRequest, GrantResponse, OnOwned, Reason};
use indicatif::{ProgressBar, ProgressStyle};
use mesh::environment::Environment;
use mesh::outbound::Calls;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::rows::Library;
use crate::clients::Clients;
use crate::commands::hints;
use crate::exit::{Failure, Kind};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Who the history names.
const ACTOR: &str = "import";

/// What bounds the sending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) changes_per_request: usize,
    pub(super) in_flight: usize,
    /// How long one request is tried again after its first failure.
    pub(super) give_up_after: Duration,
}

/// What all requests did together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) granted: u64,
    pub(super) already_owned: u64,
    /// How many customers were granted something.
    pub(super) customers: usize,
    /// The newest revision that an answer named.
    pub(super) revision: u64,
}

/// One request, still without its id.
struct Chunk {
    customer_id: CustomerId,
    game_ids: Vec<String>,
}

/// Grants every game of every customer, and skips what is owned already.
///
/// # Errors
///
/// The first request that was refused, or could not be brought to the arbiter for too long. What was granted by then
/// stays granted.
pub(super) async fn send(customers: &[Library], clients: &Clients, limits: &Limits) -> Result<Sent, Failure> {
    let chunks = chunks(customers, limits.changes_per_request);
    let all = chunks.len();
    let progress = progress_bar(chunks.iter().map(|chunk| chunk.game_ids.len()).sum());
    let client = clients.arbiter()?;
    let mut chunks = chunks.into_iter();
    let mut running = JoinSet::new();
    let mut tally = Tally::default();
    loop {
        while running.len() < limits.in_flight
            && let Some(chunk) = chunks.next()
        {
            let request = request(chunk, clients);
            running.spawn(grant(
                client.clone(),
                request,
                clients.environment().clone(),
                limits.give_up_after,
            ));
        }
        let Some(joined) = running.join_next().await else {
            progress.finish_and_clear();
            return Ok(tally.sent());
        };
        let (customer_id, answer) = joined.map_err(|error| {
            Failure::new(Kind::Defect, "TASK", format!("a request did not end well: {error}"))
        })?;
        let answer = answer.map_err(|status| {
            progress.abandon();
            stopped(hints::failed(&status, clients), tally.requests, all)
        })?;
        progress.inc(u64::try_from(answer.results.len()).unwrap_or(0));
        tally.add(customer_id, &answer);
    }
}

fn chunks(customers: &[Library], changes_per_request: usize) -> Vec<Chunk> {
    let chunks = customers.iter().flat_map(|library| {
        library.games.chunks(changes_per_request.max(1)).map(|games| Chunk {
            customer_id: library.customer_id.clone(),
            game_ids: games.iter().map(ToString::to_string).collect(),
        })
    });
    chunks.collect()
}

fn request(chunk: Chunk, clients: &Clients) -> GrantRequest {
    GrantRequest {
        request_id: clients.new_request_id().to_string(),
        customer_id: chunk.customer_id.to_string(),
        game_ids: chunk.game_ids,
        on_owned: OnOwned::Skip.into(),
        cause: Some(Cause {
            reason: Reason::Migration.into(),
            actor: ACTOR.to_owned(),
            order_id: String::new(),
        }),
        ..GrantRequest::default()
    }
}

/// Sends one request until it is answered, or for too long. The id stays the same: however often it arrives, it has
/// one effect.
async fn grant(
    mut client: ArbiterServiceClient<Calls>,
    request: GrantRequest,
    environment: Environment,
    give_up_after: Duration,
) -> (String, Result<GrantResponse, Status>) {
    let mut failing_since = None;
    let mut backoff = BACKOFF_MIN;
    loop {
        let status = match client.grant(request.clone()).await {
            Ok(answer) => return (request.customer_id, Ok(answer.into_inner())),
            Err(status) => status,
        };
        let now = environment.clock.monotonic();
        let since = *failing_since.get_or_insert(now);
        let in_vain = now.saturating_duration_since(since) >= give_up_after;
        if in_vain || !is_worth_a_retry(&status) {
            return (request.customer_id, Err(status));
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// The arbiter is down, is starting again, has a full queue or was too slow.
fn is_worth_a_retry(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

fn stopped(failure: Failure, done: usize, all: usize) -> Failure {
    failure
        .while_doing(&format!("the import stopped after {done} of {all} requests"))
        .with("requests_done", done)
        .with("requests", all)
        .hint("run it again: what is owned by then is left alone")
}

/// Adds answers up.
#[derive(Debug, Default)]
struct Tally {
    requests: usize,
    granted: u64,
    already_owned: u64,
    customers: HashSet<String>,
    revision: u64,
}

impl Tally {
    fn add(&mut self, customer_id: String, answer: &GrantResponse) {
        let count = |wanted: Granted| {
            let results = answer.results.iter().filter(|result| result.status() == wanted);
            u64::try_from(results.count()).unwrap_or(u64::MAX)
        };
        let granted = count(Granted::Granted);
        self.requests += 1;
        self.granted += granted;
        self.already_owned += count(Granted::AlreadyOwned);
        self.revision = self.revision.max(answer.revision);
        if granted > 0 {
            self.customers.insert(customer_id);
        }
    }

    fn sent(self) -> Sent {
        Sent {
            granted: self.granted,
            already_owned: self.already_owned,
            customers: self.customers.len(),
            revision: self.revision,
        }
    }
}

/// A bar on standard error, where somebody looks at it.
fn progress_bar(games: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(games).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} games, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::proto::arbiter::v1::GrantResult;

    fn answer(revision: u64, statuses: &[Granted]) -> GrantResponse {
        let results =
            statuses.iter().map(|status| GrantResult { game_id: "a".to_owned(), status: (*status).into() });
        GrantResponse { revision, results: results.collect(), ..GrantResponse::default() }
    }

    #[test]
    fn a_customer_counts_once_and_only_when_granted_something() {
        let mut tally = Tally::default();
        tally.add("1".to_owned(), &answer(3, &[Granted::Granted, Granted::AlreadyOwned]));
        tally.add("1".to_owned(), &answer(2, &[Granted::Granted]));
        tally.add("2".to_owned(), &answer(1, &[Granted::AlreadyOwned]));
        assert_eq!(tally.sent(), Sent { granted: 2, already_owned: 2, customers: 1, revision: 3 });
    }

    #[test]
    fn a_large_library_takes_several_requests() {
        let games = (0..5).map(|number| format!("game-{number}").parse().unwrap()).collect();
        let library = Library { customer_id: "1".parse().unwrap(), games };
        let sizes: Vec<_> = chunks(&[library], 2).iter().map(|chunk| chunk.game_ids.len()).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }
}
