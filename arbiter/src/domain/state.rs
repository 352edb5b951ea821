//! What is owned, as far as the commands of one batch need it, and what the batch makes of it.

use std::collections::HashMap;

use super::command::{Cause, CustomerId, GameId, Key};
use super::{ChangeKind, Commit, Revision};

/// A customer owning a game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entitlement {
    pub(crate) customer_id: CustomerId,
    pub(crate) game_id: GameId,
    /// The revision since which it is owned.
    pub(crate) valid_from: Revision,
    pub(crate) granted_at_ms: u64,
    pub(crate) cause: Cause,
}

impl Entitlement {
    fn key(&self) -> Key {
        (self.customer_id.clone(), self.game_id.clone())
    }
}

/// A customer having owned a game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastEntitlement {
    pub(crate) entitlement: Entitlement,
    /// The revision since which it is no longer owned.
    pub(crate) valid_to: Revision,
    pub(crate) ended_at_ms: u64,
    pub(crate) end_cause: Cause,
}

/// What is owned, for the keys that a batch is about, with the changes of the batch on top.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What was there before the batch.
    before: HashMap<Key, Entitlement>,
    /// What the batch changed so far: the entitlement it leaves, or none.
    after: HashMap<Key, Option<Entitlement>>,
    past: Vec<PastEntitlement>,
}

/// What a batch makes of the stored state: each key stands in at most one of `present` and `removed`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Entitlements that are new, or that replace the one of their key.
    pub(crate) present: Vec<Entitlement>,
    /// Keys whose entitlement is gone.
    pub(crate) removed: Vec<Key>,
    /// Entitlements that ended.
    pub(crate) past: Vec<PastEntitlement>,
}

impl State {
    /// The state before a batch: the entitlements that are there, of all keys that the batch is about.
    pub(crate) fn new(present: impl IntoIterator<Item = Entitlement>) -> Self {
        let before = present.into_iter().map(|entitlement| (entitlement.key(), entitlement)).collect();
        Self { before, ..Self::default() }
    }

    /// The entitlement of a key, or none when the game is not owned.
    pub(crate) fn get(&self, key: &Key) -> Option<&Entitlement> {
        match self.after.get(key) {
            Some(after) => after.as_ref(),
            None => self.before.get(key),
        }
    }

    /// Applies a commit, so that the next command is decided on what this one left.
    pub(crate) fn apply(&mut self, commit: &Commit) {
        for change in &commit.changes {
            let key = (change.customer_id.clone(), change.game_id.clone());
            if let Some(ended) = self.get(&key).cloned() {
                self.past.push(PastEntitlement {
                    entitlement: ended,
                    valid_to: commit.revision,
                    ended_at_ms: commit.committed_at_ms,
                    end_cause: commit.cause.clone(),
                });
            }
            let entitlement = (change.kind == ChangeKind::Granted).then(|| Entitlement {
                customer_id: change.customer_id.clone(),
                game_id: change.game_id.clone(),
                valid_from: commit.revision,
                granted_at_ms: commit.committed_at_ms,
                cause: commit.cause.clone(),
            });
            self.after.insert(key, entitlement);
        }
    }

    /// What has to be written to make the stored state what this one is.
    pub(crate) fn into_effects(self) -> Effects {
        let mut effects = Effects { past: self.past, ..Effects::default() };
        for (key, after) in self.after {
            match after {
                Some(entitlement) => effects.present.push(entitlement),
                None if self.before.contains_key(&key) => effects.removed.push(key),
                // Granted and revoked within the batch: only its past is left.
                None => {}
            }
        }
        // A fixed order makes what is written independent of the hash map's.
        effects.present.sort_by(|one, other| {
            (one.customer_id.as_str(), one.game_id.as_str())
                .cmp(&(other.customer_id.as_str(), other.game_id.as_str()))
        });
        effects.removed.sort();
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Change, Reason};

    fn commit(revision: Revision, kind: ChangeKind) -> Commit {
        Commit {
            revision,
            request_id: gameshelf::ids::RequestId::new_v7(revision, [0; 10]),
            committed_at_ms: revision * 10,
            cause: Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() },
            traceparent: String::new(),
            changes: vec![Change { kind, customer_id: "c".parse().unwrap(), game_id: "g".parse().unwrap() }],
        }
    }

    fn after(mut state: State, commits: &[Commit]) -> Effects {
        for commit in commits {
            state.apply(commit);
        }
        state.into_effects()
    }

    fn owned_since_1() -> State {
        State::new(after(State::default(), &[commit(1, ChangeKind::Granted)]).present)
    }

    #[test]
    fn a_grant_leaves_an_entitlement() {
        let effects = after(State::default(), &[commit(1, ChangeKind::Granted)]);
        assert_eq!((effects.present.len(), effects.removed.len(), effects.past.len()), (1, 0, 0));
        assert_eq!(effects.present[0].valid_from, 1);
    }

    #[test]
    fn a_revocation_removes_it_and_leaves_its_past() {
        let effects = after(owned_since_1(), &[commit(2, ChangeKind::Revoked)]);
        assert_eq!((effects.present.len(), effects.removed.len(), effects.past.len()), (0, 1, 1));
        assert_eq!((effects.past[0].entitlement.valid_from, effects.past[0].valid_to), (1, 2));
    }

    #[test]
    fn what_comes_and_goes_in_one_batch_leaves_only_its_past() {
        let commits = [commit(1, ChangeKind::Granted), commit(2, ChangeKind::Revoked)];
        let effects = after(State::default(), &commits);
        assert_eq!((effects.present.len(), effects.removed.len(), effects.past.len()), (0, 0, 1));
    }

    #[test]
    fn what_goes_and_comes_back_in_one_batch_is_replaced() {
        let commits = [commit(2, ChangeKind::Revoked), commit(3, ChangeKind::Granted)];
        let effects = after(owned_since_1(), &commits);
        assert_eq!((effects.present.len(), effects.removed.len(), effects.past.len()), (1, 0, 1));
        assert_eq!(effects.present[0].valid_from, 3);
    }
}
