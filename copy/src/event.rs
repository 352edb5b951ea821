//! Messages of Watch turned into events, checked once.

use gameshelf::digest::{self, Digests};
use gameshelf::proto::arbiter::v1;
use gameshelf::proto::arbiter::v1::change::Kind;
use gameshelf::proto::arbiter::v1::watch_response::Event as Message;
use gameshelf::tokens::Token;

use crate::model::{Change, Commit, Row};

/// What the stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part of the state at the snapshot's revision.
    Chunk { revision: u64, rows: Vec<Row> },
    /// The snapshot is complete.
    SnapshotEnd(Token),
    /// Whole commits, and the token of the last.
    Commits(Vec<Commit>, Token),
    /// Nothing at or below this is still to come; with the digests of all rows, where they were told.
    Bookmark(Token, Option<Digests>),
}

/// A message that this version cannot apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the stream {0}")]
pub(crate) struct Malformed(&'static str);

pub(crate) fn event(message: v1::WatchResponse) -> Result<Event, Malformed> {
    match message.event.ok_or(Malformed("is of no known kind"))? {
        Message::SnapshotChunk(chunk) => {
            let rows = chunk.entitlements.into_iter().map(row).collect();
            Ok(Event::Chunk { revision: chunk.revision, rows })
        }
        Message::SnapshotEnd(end) => Ok(Event::SnapshotEnd(token(&end.token, end.revision)?)),
        Message::Bookmark(bookmark) => {
            let token = token(&bookmark.token, bookmark.revision)?;
            Ok(Event::Bookmark(token, bookmark.digests.as_ref().and_then(digests)))
        }
        Message::Commits(commits) => {
            let last = commits.commits.last().ok_or(Malformed("has no commits"))?.revision;
            let token = token(&commits.token, last)?;
            let commits = commits.commits.into_iter().map(commit).collect();
            Ok(Event::Commits(commits, token))
        }
    }
}

fn token(text: &str, revision: u64) -> Result<Token, Malformed> {
    let token: Token = text.parse().map_err(|_| Malformed("has no token"))?;
    if token.revision == revision { Ok(token) } else { Err(Malformed("has the token of another revision")) }
}

/// The digests of all partitions; none where they are of some only, since only all of them were asked for.
fn digests(told: &v1::RowDigests) -> Option<Digests> {
    Digests::from_bytes(&told.digests).filter(|_| told.partitions.is_empty())
}

fn row(row: v1::Entitlement) -> Row {
    Row::new(row.customer_id, row.game_id, row.since_revision)
}

fn commit(commit: v1::Commit) -> Commit {
    let changes = commit.changes.into_iter().filter_map(change).collect();
    Commit { revision: commit.revision, changes, traceparent: commit.traceparent }
}

/// What a change means to a copy; none where it does not change what a customer owns, or is of a kind that came later.
fn change(change: v1::Change) -> Option<Change> {
    let granted = match change.kind() {
        Kind::Granted => true,
        Kind::Revoked => false,
        Kind::Unspecified | Kind::Reserved | Kind::Released | Kind::StockSet => return None,
    };
    let partition = digest::partition(&change.customer_id);
    Some(Change { partition, customer_id: change.customer_id, game_id: change.game_id, granted })
}
