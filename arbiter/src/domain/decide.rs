//! The rules: what becomes of a command, given what is owned.

use super::command::{Command, CustomerId, GameId, OnNotOwned, OnOwned};
use super::state::State;
use super::{Change, ChangeKind};

/// Why one item of a command cannot be done. The numbers are stored, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum RefusalKind {
    AlreadyOwned = 1,
    NotOwned = 2,
}

/// What was judged of a command. Items are named by their place in the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done. For each item whether it changed anything.
    Accepted { changed: Vec<bool> },
    /// Nothing is done. The items that stand against it.
    Refused { items: Vec<(u32, RefusalKind)> },
}

/// A verdict, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// Empty when it was refused, or when nothing had to change.
    pub(crate) changes: Vec<Change>,
}

/// Decides a command. `state` must know every key of the command.
pub(crate) fn decide(command: &Command, state: &State) -> Decision {
    match command {
        Command::Grant(grant) => decide_items(
            &Rule {
                customer_id: &grant.customer_id,
                game_ids: &grant.game_ids,
                blocked_when_owned: true,
                skip_blocked: grant.on_owned == OnOwned::Skip,
                refusal: RefusalKind::AlreadyOwned,
                kind: ChangeKind::Granted,
            },
            state,
        ),
        Command::Revoke(revoke) => decide_items(
            &Rule {
                customer_id: &revoke.customer_id,
                game_ids: &revoke.game_ids,
                blocked_when_owned: false,
                skip_blocked: revoke.on_not_owned == OnNotOwned::Skip,
                refusal: RefusalKind::NotOwned,
                kind: ChangeKind::Revoked,
            },
            state,
        ),
    }
}

/// What grants and revocations have in common: each item is blocked or not, and blocked ones are skipped or refuse all.
struct Rule<'a> {
    customer_id: &'a CustomerId,
    game_ids: &'a [GameId],
    blocked_when_owned: bool,
    skip_blocked: bool,
    refusal: RefusalKind,
    kind: ChangeKind,
}

fn decide_items(rule: &Rule<'_>, state: &State) -> Decision {
    let owned = |game_id: &GameId| state.get(&(rule.customer_id.clone(), game_id.clone())).is_some();
    let changed: Vec<bool> =
        rule.game_ids.iter().map(|game_id| owned(game_id) != rule.blocked_when_owned).collect();
    if !rule.skip_blocked && changed.contains(&false) {
        let items = (0_u32..).zip(&changed).filter(|(_, changed)| !**changed);
        let items = items.map(|(item, _)| (item, rule.refusal)).collect();
        return Decision { verdict: Verdict::Refused { items }, changes: Vec::new() };
    }
    let changes = rule.game_ids.iter().zip(&changed).filter(|(_, changed)| **changed);
    let changes = changes
        .map(|(game_id, _)| Change {
            kind: rule.kind,
            customer_id: rule.customer_id.clone(),
            game_id: game_id.clone(),
        })
        .collect();
    Decision { verdict: Verdict::Accepted { changed }, changes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, Commit, Grant, Reason, Revoke};

    fn cause() -> Cause {
        Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() }
    }

    fn games(ids: &[&str]) -> Vec<GameId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn grant(ids: &[&str], on_owned: OnOwned) -> Command {
        let customer_id = "c".parse().unwrap();
        Command::Grant(Grant { customer_id, game_ids: games(ids), on_owned, cause: cause() })
    }

    fn revoke(ids: &[&str], on_not_owned: OnNotOwned) -> Command {
        let customer_id = "c".parse().unwrap();
        Command::Revoke(Revoke { customer_id, game_ids: games(ids), on_not_owned, cause: cause() })
    }

    /// The state in which the customer owns these games.
    fn owning(ids: &[&str]) -> State {
        let mut state = State::default();
        if !ids.is_empty() {
            let command = grant(ids, OnOwned::Refuse);
            let changes = decide(&command, &state).changes;
            let request_id = gameshelf::ids::RequestId::new_v7(1, [1; 10]);
            let traceparent = String::new();
            state.apply(&Commit {
                revision: 1,
                request_id,
                committed_at_ms: 0,
                cause: cause(),
                changes,
                traceparent,
            });
        }
        state
    }

    #[test]
    fn a_grant_gives_all_or_nothing() {
        let decision = decide(&grant(&["a", "b"], OnOwned::Refuse), &owning(&[]));
        assert_eq!(decision.verdict, Verdict::Accepted { changed: vec![true, true] });
        assert_eq!(decision.changes.len(), 2);
        let decision = decide(&grant(&["a", "b"], OnOwned::Refuse), &owning(&["b"]));
        assert_eq!(decision.verdict, Verdict::Refused { items: vec![(1, RefusalKind::AlreadyOwned)] });
        assert_eq!(decision.changes, []);
    }

    #[test]
    fn a_grant_that_skips_says_what_it_did_for_each_game() {
        let decision = decide(&grant(&["a", "b", "c"], OnOwned::Skip), &owning(&["b"]));
        assert_eq!(decision.verdict, Verdict::Accepted { changed: vec![true, false, true] });
        assert_eq!(decision.changes.len(), 2);
    }

    #[test]
    fn a_revocation_takes_all_or_nothing() {
        let decision = decide(&revoke(&["a", "b"], OnNotOwned::Refuse), &owning(&["a", "b"]));
        assert_eq!(decision.verdict, Verdict::Accepted { changed: vec![true, true] });
        assert!(decision.changes.iter().all(|change| change.kind == ChangeKind::Revoked));
        let decision = decide(&revoke(&["a", "b"], OnNotOwned::Refuse), &owning(&["a"]));
        assert_eq!(decision.verdict, Verdict::Refused { items: vec![(1, RefusalKind::NotOwned)] });
        let decision = decide(&revoke(&["a", "b"], OnNotOwned::Skip), &owning(&["a"]));
        assert_eq!(decision.verdict, Verdict::Accepted { changed: vec![true, false] });
    }
}
