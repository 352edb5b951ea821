//! The order of a stream: which events may follow which. Pure.
//!
//! A copy shows exactly the commits up to its revision, so each commit must be the one after the last: a repeat is
//! left out, and after a gap nothing of the stream can be used.

use gameshelf::digest::Digests;
use gameshelf::tokens::Token;

use crate::event::Event;
use crate::model::{Commit, Row};

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A snapshot is being gathered; its revision is known from the first part on.
    Building { revision: Option<u64> },
    /// Commits follow the one with this token.
    Following(Token),
}

/// What an event means for the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rows for the snapshot that is being gathered.
    Gather(Vec<Row>),
    /// The snapshot is complete, and takes the place of the copy.
    Swap(Token),
    /// Commits without a gap from `from`, up to `to`.
    Apply { from: Token, to: Token, commits: Vec<Commit> },
    /// The copy is complete up to where it stands, and its rows add up to this.
    Check(Token, Digests),
    /// The copy is complete up to where it stands.
    Idle,
}

/// Why a stream cannot be used any further: only a new snapshot helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// Commits are missing.
    #[error("the stream left out what is between revisions {last} and {next}")]
    Gap { last: u64, next: u64 },
    /// The stream is of another store or incarnation than the copy.
    #[error("the stream went over to another store")]
    OtherStore,
    /// An event came where it cannot.
    #[error("the stream is out of order: {0}")]
    Order(&'static str),
}

impl Progress {
    /// Takes the next event.
    pub(crate) fn advance(&mut self, event: Event) -> Result<Step, Broken> {
        match (*self, event) {
            (Self::Building { revision }, Event::Chunk { revision: part, rows }) => {
                if revision.is_some_and(|revision| revision != part) {
                    return Err(Broken::Order("parts of two snapshots"));
                }
                *self = Self::Building { revision: Some(part) };
                Ok(Step::Gather(rows))
            }
            (Self::Building { revision }, Event::SnapshotEnd(token)) => {
                if revision.is_some_and(|revision| revision != token.revision) {
                    return Err(Broken::Order("the end of another snapshot"));
                }
                *self = Self::Following(token);
                Ok(Step::Swap(token))
            }
            (Self::Building { .. }, Event::Bookmark(..)) => Ok(Step::Idle),
            (Self::Building { .. }, Event::Commits(..)) => {
                Err(Broken::Order("commits before the snapshot's end"))
            }
            (Self::Following(last), Event::Commits(commits, token)) => self.follow(last, commits, token),
            (Self::Following(last), Event::Bookmark(token, digests)) => {
                same_store(last, token)?;
                if token.revision > last.revision {
                    return Err(Broken::Gap { last: last.revision, next: token.revision });
                }
                // A bookmark of before, in a stream that began early, tells of rows that are gone.
                Ok(digests
                    .filter(|_| token == last)
                    .map_or(Step::Idle, |digests| Step::Check(token, digests)))
            }
            (Self::Following(_), Event::Chunk { .. } | Event::SnapshotEnd(_)) => {
                Err(Broken::Order("a snapshot among commits"))
            }
        }
    }

    fn follow(&mut self, from: Token, mut commits: Vec<Commit>, token: Token) -> Result<Step, Broken> {
        same_store(from, token)?;
        let received = commits.len();
        commits.retain(|commit| commit.revision > from.revision);
        if commits.len() < received {
            tracing::warn!(
                repeated = received - commits.len(),
                revision = from.revision,
                "the stream repeated commits; they are left out"
            );
        }
        let mut last = from.revision;
        for commit in &commits {
            if commit.revision.checked_sub(1) != Some(last) {
                return Err(Broken::Gap { last, next: commit.revision });
            }
            last = commit.revision;
        }
        if commits.is_empty() {
            return Ok(Step::Idle);
        }
        *self = Self::Following(from.at(last));
        Ok(Step::Apply { from, to: from.at(last), commits })
    }
}

fn same_store(last: Token, token: Token) -> Result<(), Broken> {
    if last.at(0) == token.at(0) { Ok(()) } else { Err(Broken::OtherStore) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn at(revision: u64) -> Token {
        Token { store_id: Uuid::from_u128(1), incarnation: 1, revision }
    }

    fn commit(revision: u64) -> Commit {
        Commit { revision, changes: vec![], traceparent: String::new() }
    }

    fn commits(revisions: &[u64]) -> Event {
        let commits = revisions.iter().map(|revision| commit(*revision)).collect();
        Event::Commits(commits, at(*revisions.last().unwrap()))
    }

    fn applied(step: Result<Step, Broken>) -> Vec<u64> {
        match step {
            Ok(Step::Apply { commits, .. }) => commits.iter().map(|commit| commit.revision).collect(),
            Ok(Step::Idle) => vec![],
            other => panic!("commits are applied or left out, and this is {other:?}"),
        }
    }

    #[test]
    fn a_gap_breaks_the_stream() {
        for gap in [commits(&[7]), commits(&[6, 8]), commits(&[6, 6]), Event::Bookmark(at(6), None)] {
            let mut progress = Progress::Following(at(5));
            assert!(matches!(progress.advance(gap), Err(Broken::Gap { .. })));
        }
    }

    #[test]
    fn repeats_are_left_out() {
        let mut progress = Progress::Following(at(5));
        assert_eq!(applied(progress.advance(commits(&[4, 5, 6]))), [6]);
        assert_eq!(applied(progress.advance(commits(&[5, 6]))), [0; 0]);
        assert_eq!(progress, Progress::Following(at(6)));
    }

    #[test]
    fn a_stream_of_another_store_is_not_followed() {
        let other = Token { store_id: Uuid::from_u128(2), ..at(6) };
        let event = Event::Commits(vec![commit(6)], other);
        assert_eq!(Progress::Following(at(5)).advance(event), Err(Broken::OtherStore));
        assert_eq!(Progress::Following(at(5)).advance(Event::Bookmark(other, None)), Err(Broken::OtherStore));
    }

    #[test]
    fn a_snapshot_has_one_revision_and_ends_before_commits() {
        let chunk = |revision| Event::Chunk { revision, rows: vec![] };
        let mut progress = Progress::Building { revision: None };
        assert!(progress.advance(chunk(3)).is_ok());
        assert!(matches!({ progress }.advance(chunk(4)), Err(Broken::Order(_))));
        assert!(matches!({ progress }.advance(commits(&[4])), Err(Broken::Order(_))));
        assert!(matches!({ progress }.advance(Event::SnapshotEnd(at(4))), Err(Broken::Order(_))));
        assert_eq!(progress.advance(Event::SnapshotEnd(at(3))), Ok(Step::Swap(at(3))));
        assert!(matches!(progress.advance(chunk(3)), Err(Broken::Order(_))));
    }

    proptest! {
        /// However messages are cut, repeated or lost: what is applied is the revisions one by one, or the stream breaks.
        #[test]
        fn what_is_applied_has_no_gap(messages in prop::collection::vec(prop::collection::vec(1_u64..20, 1..5), 0..20)) {
            let mut progress = Progress::Following(at(0));
            let mut last = 0;
            for revisions in messages {
                let Ok(step) = progress.advance(commits(&revisions)) else { break };
                for revision in applied(Ok(step)) {
                    prop_assert_eq!(revision, last + 1);
                    last = revision;
                }
                prop_assert_eq!(progress, Progress::Following(at(last)));
            }
        }
    }
}
