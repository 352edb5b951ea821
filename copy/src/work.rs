//! Steps gathered into one transaction, so that a copy which is behind pays one fsync for many messages.

use gameshelf::digest::Digests;
use gameshelf::tokens::Token;

use crate::model::{Commit, Row};
use crate::progress::Step;

/// What one transaction does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Adds rows to the snapshot that is being gathered.
    Gather(Vec<Row>),
    /// Puts the snapshot in the place of the copy.
    Swap(Token),
    /// Applies commits.
    Apply { from: Token, to: Token, commits: Vec<Commit> },
    /// Compares the copy.
    Check(Token, Digests),
    /// Nothing is to be written.
    Idle,
}

impl From<Step> for Work {
    fn from(step: Step) -> Self {
        match step {
            Step::Gather(rows) => Self::Gather(rows),
            Step::Swap(token) => Self::Swap(token),
            Step::Apply { from, to, commits } => Self::Apply { from, to, commits },
            Step::Check(token, digests) => Self::Check(token, digests),
            Step::Idle => Self::Idle,
        }
    }
}

impl Work {
    /// Takes a further step into the same transaction, or gives it back when it needs one of its own.
    pub(crate) fn join(&mut self, step: Step) -> Option<Step> {
        match (&mut *self, step) {
            (_, Step::Idle) => None,
            (Self::Idle, step) => {
                *self = step.into();
                None
            }
            (Self::Gather(rows), Step::Gather(more)) => {
                rows.extend(more);
                None
            }
            (Self::Apply { to, commits, .. }, Step::Apply { to: further, commits: more, .. }) => {
                *to = further;
                commits.extend(more);
                None
            }
            (_, step) => Some(step),
        }
    }

    /// How many rows it writes at most.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Gather(rows) => rows.len(),
            Self::Apply { commits, .. } => commits.iter().map(|commit| commit.changes.len()).sum(),
            Self::Swap(_) | Self::Check(..) | Self::Idle => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(revision: u64) -> Token {
        Token { store_id: Uuid::from_u128(1), incarnation: 1, revision }
    }

    fn apply(from: u64, to: u64) -> Step {
        let commit = |revision| Commit { revision, changes: vec![], traceparent: String::new() };
        let commits = (from + 1..=to).map(commit).collect();
        Step::Apply { from: at(from), to: at(to), commits }
    }

    #[test]
    fn commits_share_a_transaction_and_a_swap_has_its_own() {
        let mut work = Work::from(apply(1, 2));
        assert_eq!(work.join(Step::Idle), None);
        assert_eq!(work.join(apply(2, 5)), None);
        assert_eq!(work, Work::from(apply(1, 5)));
        let mut work = Work::Gather(vec![]);
        assert_eq!(work.join(Step::Swap(at(3))), Some(Step::Swap(at(3))));
        let mut work = Work::Swap(at(3));
        assert_eq!(work.join(apply(3, 4)), Some(apply(3, 4)));
    }
}
