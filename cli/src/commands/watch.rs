//! `gameshelf watch`: tells every commit as it comes.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use gameshelf::proto::arbiter::v1::change::Kind as ChangeKind;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Commit, EarliestStart, Entitlement, Filter, GetHeadRequest, SnapshotStart, WatchRequest, WatchResponse,
};
use prost_types::Timestamp;
use serde::Serialize;
use tonic::{Status, Streaming};

use crate::clients::{ClientOptions, Clients};
use crate::commands::patience::Patience;
use crate::commands::{cause_in_words, hints, reason_name};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};

/// Between two tries to reach the arbiter.
const WAITS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(2);

/// Tells every change of ownership as it is committed
///
/// Begins with what is committed from now on. When the connection breaks it goes on after the last commit it told,
/// so that none is left out or told twice.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Begin after the commit that returned this token
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["snapshot", "earliest"])]
    after: Option<String>,
    /// Tell first what everybody owns now
    #[arg(long, conflicts_with = "earliest")]
    snapshot: bool,
    /// Begin with the oldest commit that the arbiter keeps
    #[arg(long)]
    earliest: bool,
    /// Tell only of this customer; may be given again
    #[arg(long = "customer", value_name = "CUSTOMER")]
    customers: Vec<String>,
    /// Tell only of this game; may be given again
    #[arg(long = "game", value_name = "GAME")]
    games: Vec<String>,
    /// Tell only of the customers of this partition, 0 to 255; may be given again
    #[arg(long = "partition", value_name = "NUMBER")]
    partitions: Vec<u8>,
    /// End after this many commits
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How long to try to reach an arbiter that has gone, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    give_up_after_ms: u64,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// One line of JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// Where the commits begin.
    Started { revision: u64, token: &'a str },
    /// A part of the state.
    Entitlement {
        customer_id: &'a str,
        game_id: &'a str,
        since_revision: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        end_time: Option<String>,
    },
    /// The state is complete.
    SnapshotEnd { revision: u64, token: &'a str },
    /// A commit. The last of a message has the token to go on after.
    Commit {
        revision: u64,
        commit_time: Option<String>,
        request_id: &'a str,
        reason: &'static str,
        actor: &'a str,
        order_id: &'a str,
        changes: Vec<ChangeJson<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
    },
}

#[derive(Serialize)]
struct ChangeJson<'a> {
    kind: &'static str,
    customer_id: &'a str,
    game_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reservation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stock_total: Option<u64>,
}

/// Tells commits until the limit is reached or nobody reads any more.
///
/// # Errors
///
/// That the token cannot be gone on after, or that the arbiter could not be reached for too long.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let start = match &options.after {
        Some(token) => Start::AfterToken(token.clone()),
        None if options.snapshot => Start::Snapshot(SnapshotStart::default()),
        None if options.earliest => Start::Earliest(EarliestStart {}),
        None => Start::AfterToken(tell_start(clients, output).await?),
    };
    let filter = Filter {
        customer_ids: options.customers,
        game_ids: options.games,
        partitions: options.partitions.into_iter().map(u32::from).collect(),
    };
    // A filter that names nothing is none.
    let filter = Some(filter).filter(|filter| *filter != Filter::default());
    let mut watch = Watch { start, filter, told: 0, limit: options.limit, output };
    watch.follow(clients, Duration::from_millis(options.give_up_after_ms)).await
}

/// Tells where the commits begin, and gives the token of it.
async fn tell_start(clients: &Clients, output: Output) -> Result<String, Failure> {
    let head = clients.arbiter()?.get_head(GetHeadRequest {}).await;
    let head = head.map_err(|status| hints::failed(&status, clients))?.into_inner();
    let head = head.provenance.unwrap_or_default();
    match output {
        Output::Json => output::json(&Line::Started { revision: head.revision, token: &head.token })?,
        Output::Table => {
            output::text(&format!("every commit after revision {}; ctrl-C ends\n", head.revision))?;
        }
    }
    Ok(head.token)
}

struct Watch {
    start: Start,
    filter: Option<Filter>,
    told: u64,
    limit: Option<u64>,
    output: Output,
}

impl Watch {
    /// Follows the stream, and goes on after the last token when it breaks.
    async fn follow(&mut self, clients: &Clients, give_up_after: Duration) -> Result<(), Failure> {
        let mut patience = Patience::new(&clients.environment().clock, give_up_after, WAITS);
        while !self.is_done() {
            let mut client = clients.arbiter_streams()?;
            let request = WatchRequest {
                start: Some(self.start.clone()),
                filter: self.filter.clone(),
                ..WatchRequest::default()
            };
            let ended = match client.watch(request).await {
                Ok(stream) => {
                    let (heard, ended) = self.tell(stream.into_inner()).await?;
                    if heard {
                        patience.answered();
                    }
                    ended
                }
                Err(status) => Some(status),
            };
            if self.is_done() {
                return Ok(());
            }
            // A stream that ended without a status belongs to an arbiter that is stopping.
            let status = ended.unwrap_or_else(|| Status::unavailable("the stream ended"));
            let failure = hints::failed(&status, clients);
            if failure.kind() != Kind::Unavailable || !patience.wait().await {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| self.told >= limit)
    }

    /// Tells a stream to its end. Says whether it brought anything, and how it ended.
    async fn tell(
        &mut self,
        mut stream: Streaming<WatchResponse>,
    ) -> Result<(bool, Option<Status>), Failure> {
        let mut heard = false;
        while !self.is_done() {
            match stream.message().await {
                Ok(Some(message)) => {
                    heard = true;
                    if let Some(event) = message.event {
                        self.tell_event(event)?;
                    }
                }
                Ok(None) => return Ok((heard, None)),
                Err(status) => return Ok((heard, Some(status))),
            }
        }
        Ok((heard, None))
    }

    fn tell_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::SnapshotChunk(chunk) => {
                chunk.entitlements.iter().try_for_each(|entitlement| self.tell_entitlement(entitlement))
            }
            Event::SnapshotEnd(end) => {
                match self.output {
                    Output::Json => {
                        output::json(&Line::SnapshotEnd { revision: end.revision, token: &end.token })?;
                    }
                    Output::Table => output::text(&format!("this is all at revision {}\n", end.revision))?,
                }
                self.start = Start::AfterToken(end.token);
                Ok(())
            }
            Event::Commits(commits) => {
                let last = commits.commits.len().saturating_sub(1);
                for (index, commit) in commits.commits.iter().enumerate() {
                    if self.is_done() {
                        return Ok(());
                    }
                    self.tell_commit(commit, (index == last).then_some(commits.token.as_str()))?;
                    self.told += 1;
                }
                self.start = Start::AfterToken(commits.token);
                Ok(())
            }
            Event::Bookmark(bookmark) => {
                // A bookmark within a snapshot's time would skip the rest of the snapshot.
                if !matches!(self.start, Start::Snapshot(_)) {
                    self.start = Start::AfterToken(bookmark.token);
                }
                Ok(())
            }
        }
    }

    fn tell_entitlement(&self, entitlement: &Entitlement) -> Result<(), Failure> {
        let Entitlement { customer_id, game_id, since_revision, end_time } = entitlement;
        let since_revision = *since_revision;
        match self.output {
            Output::Json => {
                let end_time = end_time.as_ref().map(ToString::to_string);
                output::json(&Line::Entitlement { customer_id, game_id, since_revision, end_time })
            }
            Output::Table => {
                let until = until(end_time.as_ref());
                output::text(&format!("{since_revision}  {customer_id} owns {game_id}{until}\n"))
            }
        }
    }

    fn tell_commit(&self, commit: &Commit, token: Option<&str>) -> Result<(), Failure> {
        match self.output {
            Output::Json => output::json(&line(commit, token)),
            Output::Table => output::text(&in_words(commit)),
        }
    }
}

fn line<'a>(commit: &'a Commit, token: Option<&'a str>) -> Line<'a> {
    let cause = commit.cause.as_ref();
    let changes = commit.changes.iter().map(|change| ChangeJson {
        kind: kind_name(change.kind()),
        customer_id: &change.customer_id,
        game_id: &change.game_id,
        end_time: change.end_time.as_ref().map(ToString::to_string),
        reservation_id: &change.reservation_id,
        stock_total: (change.kind() == ChangeKind::StockSet).then_some(change.stock_total),
    });
    Line::Commit {
        revision: commit.revision,
        commit_time: commit.commit_time.as_ref().map(ToString::to_string),
        request_id: &commit.request_id,
        reason: cause.map_or("unknown", |cause| reason_name(cause.reason)),
        actor: cause.map_or("", |cause| cause.actor.as_str()),
        order_id: cause.map_or("", |cause| cause.order_id.as_str()),
        changes: changes.collect(),
        token,
    }
}

fn kind_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Granted => "granted",
        ChangeKind::Revoked => "revoked",
        ChangeKind::Reserved => "reserved",
        ChangeKind::Released => "released",
        ChangeKind::StockSet => "stock_set",
        ChangeKind::Unspecified => "unknown",
    }
}

/// ` until 2026-11-29T03:40:00Z`; nothing for what does not end by itself.
fn until(end_time: Option<&Timestamp>) -> String {
    end_time.map_or_else(String::new, |time| format!(" until {time}"))
}

/// A line for each change; the revision stands before each, since one commit can have several.
fn in_words(commit: &Commit) -> String {
    let time = commit.commit_time.as_ref().map_or_else(String::new, ToString::to_string);
    let cause = commit.cause.clone().unwrap_or_default();
    let why = cause_in_words(reason_name(cause.reason), &cause.actor);
    let lines = commit.changes.iter().map(|change| {
        let (customer, game) = (&change.customer_id, &change.game_id);
        let until = until(change.end_time.as_ref());
        let what = match change.kind() {
            ChangeKind::Granted => format!("{customer} gets {game}{until}"),
            ChangeKind::Revoked => format!("{customer} loses {game}"),
            ChangeKind::Reserved => format!("{customer} reserves {game}{until}"),
            ChangeKind::Released => format!("{customer} no longer reserves {game}"),
            ChangeKind::StockSet => format!("the stock of {game} is {}", change.stock_total),
            ChangeKind::Unspecified => "?".to_owned(),
        };
        format!("{}  {time}  {what} ({why})\n", commit.revision)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::proto::arbiter::v1::{Cause, Change, Reason};

    fn commit() -> Commit {
        Commit {
            revision: 7,
            commit_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            request_id: "r".to_owned(),
            cause: Some(Cause {
                reason: Reason::Purchase.into(),
                actor: "purchase".to_owned(),
                order_id: "o".to_owned(),
            }),
            changes: vec![Change {
                kind: ChangeKind::Granted.into(),
                customer_id: "42".to_owned(),
                game_id: "tiny-forest".to_owned(),
                ..Change::default()
            }],
            traceparent: String::new(),
        }
    }

    #[test]
    fn a_commit_is_a_line() {
        assert_eq!(
            in_words(&commit()),
            "7  2023-11-14T22:13:20Z  42 gets tiny-forest (purchase by purchase)\n"
        );
    }

    #[test]
    fn an_end_that_is_set_is_told() {
        let mut commit = commit();
        commit.changes[0].end_time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
        let text = in_words(&commit);
        assert!(text.contains(" 42 gets tiny-forest until 2027-01-15T08:00:00Z (purchase"), "{text}");
        let json = serde_json::to_value(line(&commit, None)).unwrap();
        assert_eq!(json["changes"][0]["end_time"], "2027-01-15T08:00:00Z");
    }

    #[test]
    fn a_commit_is_an_object() {
        let json = serde_json::to_value(line(&commit(), Some("t"))).unwrap();
        assert_eq!(json["type"], "commit");
        assert_eq!(json["changes"][0]["kind"], "granted");
        assert_eq!(json["token"], "t");
        assert_eq!(json["commit_time"], "2023-11-14T22:13:20Z");
    }
}
