//! `gameshelf example latest`: the latest purchases, by what the arbiter tells on Watch alone.

use std::collections::VecDeque;
use std::time::Duration;

use clap::Args;
use gameshelf::proto::arbiter::v1::change::Kind as ChangeKind;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Commit, EarliestStart, Filter, Reason, SnapshotStart, WatchRequest, WatchResponse,
};
use serde::Serialize;
use tonic::{Status, Streaming};

use crate::clients::{ClientOptions, Clients};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Only the end of the snapshot is wanted, which says how far the commits go: so it is that of one customer.
const NOBODY: &str = "nobody";

/// The latest changes with the reason purchase, from the arbiter's Watch alone
///
/// Reads the commits that the arbiter keeps, from the oldest on, and holds the latest changes; nothing else is asked. With
/// --follow it goes on with each new one, and after a broken connection with the one after the last it told.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Changes to hold
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on with each new one until ctrl-C
    #[arg(long)]
    follow: bool,
    /// How long to try to reach an arbiter that has gone, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    give_up_after_ms: u64,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Purchase {
    revision: u64,
    commit_time: String,
    customer_id: String,
    game_id: String,
    order_id: String,
}

impl Purchase {
    fn in_words(&self) -> String {
        let Self { revision, commit_time, customer_id, game_id, .. } = self;
        format!("{revision}  {commit_time}  {customer_id} gets {game_id}\n")
    }
}

/// The latest purchases: what Watch tells goes in, what is to be shown comes out.
#[derive(Debug)]
struct Latest {
    limit: usize,
    held: VecDeque<Purchase>,
    /// The newest commit that there was at the beginning: what comes up to it is held, what comes after it is news.
    until: u64,
    is_there: bool,
}

impl Latest {
    fn new(limit: u32, until: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, held: VecDeque::new(), until, is_there: until == 0 }
    }

    /// A commit, in the order of their revisions.
    fn commit(&mut self, commit: &Commit) {
        let cause = commit.cause.as_ref();
        if cause.is_none_or(|cause| cause.reason() != Reason::Purchase) {
            return;
        }
        let granted = commit.changes.iter().filter(|change| change.kind() == ChangeKind::Granted);
        for change in granted {
            self.held.push_back(Purchase {
                revision: commit.revision,
                commit_time: commit.commit_time.as_ref().map_or_else(String::new, ToString::to_string),
                customer_id: change.customer_id.clone(),
                game_id: change.game_id.clone(),
                order_id: cause.map_or_else(String::new, |cause| cause.order_id.clone()),
            });
            // News is shown at once, and all of it.
            if !self.is_there && self.held.len() > self.limit {
                self.held.pop_front();
            }
        }
    }

    /// Everything up to this revision has come.
    fn reached(&mut self, revision: u64) {
        self.is_there |= revision >= self.until;
    }

    /// What is to be shown now.
    fn shown(&mut self) -> impl Iterator<Item = Purchase> {
        let count = if self.is_there { self.held.len() } else { 0 };
        self.held.drain(..count)
    }
}

/// Shows the latest purchases, and with `--follow` each new one.
///
/// # Errors
///
/// That the arbiter could not be reached for too long.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let clock = &clients.environment().clock;
    let mut backoff = BACKOFF_MIN;
    let mut alone_since = None;
    let mut reader: Option<Reader> = None;
    loop {
        let heard = match &mut reader {
            Some(reader) => reader.read(clients).await?,
            None => match newest(clients).await? {
                Ok(until) => {
                    let latest = Latest::new(options.limit, until);
                    let start = Start::Earliest(EarliestStart {});
                    reader = Some(Reader { latest, start, follow: options.follow, output });
                    continue;
                }
                Err(status) => Heard { anything: false, ended: Some(status) },
            },
        };
        let Some(status) = heard.ended else { return Ok(()) };
        if heard.anything {
            (backoff, alone_since) = (BACKOFF_MIN, None);
        }
        let failure = Failure::from_status(ports::ARBITER.name, &status);
        let now = clock.monotonic();
        let since = *alone_since.get_or_insert(now);
        let gives_up =
            now.saturating_duration_since(since) >= Duration::from_millis(options.give_up_after_ms);
        if failure.kind() != Kind::Unavailable || gives_up {
            return Err(failure);
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// The revision of the newest commit, as the end of a snapshot says it.
async fn newest(clients: &Clients) -> Result<Result<u64, Status>, Failure> {
    let request = WatchRequest {
        start: Some(Start::Snapshot(SnapshotStart::default())),
        filter: Some(Filter { customer_ids: vec![NOBODY.to_owned()], ..Filter::default() }),
        ..WatchRequest::default()
    };
    let mut client = clients.arbiter_streams()?;
    let end = async {
        let mut stream = client.watch(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            if let Some(Event::SnapshotEnd(end)) = message.event {
                return Ok(end.revision);
            }
        }
        Err(ended())
    };
    Ok(end.await)
}

/// A stream that ended without a status belongs to an arbiter that is stopping.
fn ended() -> Status {
    Status::unavailable("the stream ended")
}

/// What a stream brought.
struct Heard {
    anything: bool,
    /// Why it ended; none where nothing more is wanted.
    ended: Option<Status>,
}

struct Reader {
    latest: Latest,
    start: Start,
    follow: bool,
    output: Output,
}

impl Reader {
    /// Reads a stream to its end, or until all that is wanted is shown.
    async fn read(&mut self, clients: &Clients) -> Result<Heard, Failure> {
        if self.is_done() {
            return Ok(Heard { anything: false, ended: None });
        }
        let request = WatchRequest { start: Some(self.start.clone()), ..WatchRequest::default() };
        match clients.arbiter_streams()?.watch(request).await {
            Ok(stream) => self.show(stream.into_inner()).await,
            Err(status) => Ok(Heard { anything: false, ended: Some(status) }),
        }
    }

    async fn show(&mut self, mut stream: Streaming<WatchResponse>) -> Result<Heard, Failure> {
        let mut anything = false;
        while !self.is_done() {
            match stream.message().await {
                Ok(Some(message)) => {
                    anything = true;
                    self.event(message.event)?;
                }
                Ok(None) => return Ok(Heard { anything, ended: Some(ended()) }),
                Err(status) => return Ok(Heard { anything, ended: Some(status) }),
            }
        }
        Ok(Heard { anything, ended: None })
    }

    fn is_done(&self) -> bool {
        self.latest.is_there && !self.follow
    }

    fn event(&mut self, event: Option<Event>) -> Result<(), Failure> {
        let token = match event {
            Some(Event::Commits(commits)) => {
                for commit in &commits.commits {
                    self.latest.commit(commit);
                    self.latest.reached(commit.revision);
                }
                commits.token
            }
            Some(Event::Bookmark(bookmark)) => {
                self.latest.reached(bookmark.revision);
                bookmark.token
            }
            _ => return Ok(()),
        };
        for purchase in self.latest.shown() {
            match self.output {
                Output::Json => output::json(&purchase)?,
                Output::Table => output::text(&purchase.in_words())?,
            }
        }
        self.start = Start::AfterToken(token);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::proto::arbiter::v1::{Cause, Change};

    fn commit(revision: u64, reason: Reason, kind: ChangeKind) -> Commit {
        Commit {
            revision,
            cause: Some(Cause { reason: reason.into(), ..Cause::default() }),
            changes: vec![Change { kind: kind.into(), ..Change::default() }],
            ..Commit::default()
        }
    }

    fn shown(latest: &mut Latest) -> Vec<u64> {
        latest.shown().map(|purchase| purchase.revision).collect()
    }

    #[test]
    fn the_latest_purchases_are_held_until_all_are_there_and_then_each_new_one_is_shown() {
        let mut latest = Latest::new(3, 7);
        for revision in 1..=6 {
            latest.commit(&commit(revision, Reason::Purchase, ChangeKind::Granted));
            latest.reached(revision);
            assert!(shown(&mut latest).is_empty());
        }
        latest.commit(&commit(7, Reason::Gift, ChangeKind::Granted));
        latest.reached(7);
        assert_eq!(shown(&mut latest), [4, 5, 6]);
        for revision in 8..=11 {
            latest.commit(&commit(revision, Reason::Purchase, ChangeKind::Granted));
        }
        latest.commit(&commit(12, Reason::Purchase, ChangeKind::Reserved));
        assert_eq!(shown(&mut latest), [8, 9, 10, 11]);
    }

    #[test]
    fn where_there_is_nothing_nothing_is_waited_for() {
        assert!(Latest::new(3, 0).is_there);
    }
}
