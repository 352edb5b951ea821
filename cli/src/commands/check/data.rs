//! Whether what is stored, or what the log adds up to, is what the arbiter's digests say.

mod fold;

use gameshelf::digest::{Digests, PARTITIONS};
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Filter, GetDigestsRequest, ListCopiesRequest, SnapshotStart, WatchRequest, WatchResponse,
};
use gameshelf::tokens::Token;
use serde::Serialize;
use tonic::{Status, Streaming};

use fold::Fold;

use crate::clients::Clients;
use crate::commands::hints;
use crate::exit::{Failure, Kind};
use crate::output;

/// What came of it.
#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) equal: bool,
    rows: u64,
    commits: u64,
    /// The newest revision at which something was compared.
    revision: u64,
    differing_partitions: Vec<Difference>,
}

/// A partition that is not what the digests say.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    partition: u8,
    rows: u64,
    expected_rows: u64,
    /// Commits that granted what was owned, or revoked what was not.
    contradictions: u64,
}

/// Checks every partition.
///
/// # Errors
///
/// An arbiter that stopped on the way.
pub(super) async fn check_all(
    replay: bool,
    rows_at_once: u64,
    clients: &Clients,
) -> Result<Checked, Failure> {
    let from = Origin::of(replay, clients).await?;
    let mut checked =
        Checked { equal: true, rows: 0, commits: 0, revision: 0, differing_partitions: Vec::new() };
    let counts = expected(clients).await?.counts;
    for group in groups(&counts, rows_at_once) {
        check(&group, &from, clients, &mut checked).await?;
    }
    checked.equal = checked.differing_partitions.is_empty();
    Ok(checked)
}

/// Where a check begins.
enum Origin {
    /// With what is owned now.
    Now,
    /// With what was owned at a revision.
    At(Token),
    /// With nothing, before the first commit.
    Nothing(Token),
}

impl Origin {
    async fn of(replay: bool, clients: &Clients) -> Result<Self, Failure> {
        if !replay {
            return Ok(Self::Now);
        }
        let listed = clients.arbiter()?.list_copies(ListCopiesRequest {}).await;
        let listed = listed.map_err(|status| hints::failed(&status, clients))?.into_inner();
        let head: Token = listed.provenance.unwrap_or_default().token.parse().map_err(|_| defect())?;
        let oldest = head.at(listed.oldest_resumable_revision);
        Ok(if oldest.revision == 0 { Self::Nothing(oldest) } else { Self::At(oldest) })
    }

    fn start(&self) -> Start {
        match self {
            Self::Now => Start::Snapshot(SnapshotStart::default()),
            Self::At(token) => Start::Snapshot(SnapshotStart { as_of_token: token.to_string() }),
            Self::Nothing(token) => Start::AfterToken(token.to_string()),
        }
    }
}

/// What the arbiter's digests say.
struct Expected {
    revision: u64,
    digests: Digests,
    counts: Vec<u64>,
}

async fn expected(clients: &Clients) -> Result<Expected, Failure> {
    let told = clients.arbiter()?.get_digests(GetDigestsRequest {}).await;
    let told = told.map_err(|status| hints::failed(&status, clients))?.into_inner();
    let digests = Digests::from_bytes(&told.row_digests).ok_or_else(defect)?;
    if told.rows.len() != PARTITIONS {
        return Err(defect());
    }
    let revision = told.provenance.map_or(0, |provenance| provenance.revision);
    Ok(Expected { revision, digests, counts: told.rows })
}

fn defect() -> Failure {
    Failure::new(Kind::Defect, "ANSWER", "the arbiter answered with digests or a token that are none")
}

/// Neighbouring partitions that together have about so many rows; at least one in each group.
fn groups(counts: &[u64], rows_at_once: u64) -> Vec<Vec<u8>> {
    let mut groups: Vec<Vec<u8>> = Vec::new();
    let mut rows = 0;
    for (partition, count) in (0..=u8::MAX).zip(counts) {
        rows += count;
        if let Some(group) = groups.last_mut().filter(|_| rows <= rows_at_once) {
            group.push(partition);
        } else {
            rows = *count;
            groups.push(vec![partition]);
        }
    }
    groups
}

/// Checks some partitions: folds the stream to the revision of digests that are not older than its beginning.
async fn check(group: &[u8], from: &Origin, clients: &Clients, checked: &mut Checked) -> Result<(), Failure> {
    let partitions = group.iter().map(|partition| u32::from(*partition)).collect();
    let is_all = group.len() == PARTITIONS;
    let filter = (!is_all).then(|| Filter { partitions, ..Filter::default() });
    let request = WatchRequest { start: Some(from.start()), filter, ..WatchRequest::default() };
    let failed = |status: Status| hints::failed(&status, clients);
    let mut stream = clients.arbiter_streams()?.watch(request).await.map_err(failed)?.into_inner();
    let mut fold = Fold::new(group);
    let mut until = match from {
        Origin::Nothing(_) => Some(expected(clients).await?),
        Origin::Now | Origin::At(_) => None,
    };
    while until.as_ref().is_none_or(|expected| fold.revision() < expected.revision) {
        let limit = until.as_ref().map_or(u64::MAX, |expected| expected.revision);
        match next(&mut stream).await.map_err(failed)? {
            Event::SnapshotChunk(chunk) => fold.present(&chunk.entitlements),
            Event::SnapshotEnd(end) => {
                if let Origin::At(token) = from
                    && token.revision != end.revision
                {
                    return Err(defect());
                }
                fold.reached(end.revision);
                until = Some(expected(clients).await?);
            }
            Event::Commits(commits) => {
                let known = commits.commits.iter().filter(|commit| commit.revision <= limit);
                known.for_each(|commit| fold.commit(commit));
                // What the filter left out has a revision, too.
                if commits.commits.last().is_some_and(|last| last.revision > limit) {
                    fold.reached(limit);
                }
            }
            Event::Bookmark(bookmark) => fold.reached(bookmark.revision.min(limit)),
        }
    }
    if let Some(expected) = until {
        checked.revision = checked.revision.max(expected.revision);
        checked.commits = checked.commits.max(fold.commits());
        checked.rows += fold.rows();
        let differing = fold.differences(&expected.digests, &expected.counts);
        checked.differing_partitions.extend(differing);
    }
    Ok(())
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<Event, Status> {
    loop {
        let message = stream.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))?;
        if let Some(event) = message.event {
            return Ok(event);
        }
    }
}

pub(super) fn in_words(checked: &Checked) -> String {
    let Checked { rows, commits, revision, .. } = checked;
    if checked.equal {
        return format!(
            "equal: {rows} rows in {PARTITIONS} partitions, {commits} commits folded, at revision {revision}\n"
        );
    }
    let mut table = output::table(&["partition", "rows", "expected", "contradictions"]);
    for one in &checked.differing_partitions {
        table.add_row([
            one.partition.to_string(),
            one.rows.to_string(),
            one.expected_rows.to_string(),
            one.contradictions.to_string(),
        ]);
    }
    let number = output::count(checked.differing_partitions.len(), "partition");
    format!("{number} not as the digests say, at revision {revision}:\n{}", output::render(&table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_grouped_by_their_rows() {
        let mut counts = vec![0; PARTITIONS];
        (counts[0], counts[1], counts[2], counts[255]) = (3, 2, 9, 1);
        let groups = groups(&counts, 5);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 253]);
        assert_eq!(groups[1], [2], "one partition is never split");
        assert!(groups.concat().into_iter().eq(0..=u8::MAX));
    }
}
