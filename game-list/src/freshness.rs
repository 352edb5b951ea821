//! Decides whether the copy is fresh enough for an answer. Pure: it knows no clock, no store and no wire.

use std::time::Duration;

use copy::reached;
use gameshelf::tokens::Token;
use uuid::Uuid;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// It sees every write that was acknowledged before the read began.
    Strong,
    /// It sees the write that returned this token.
    AtLeast(Token),
    /// It may come from a copy of at most this age.
    AtMostOld(Duration),
    /// Whatever answers first.
    Any,
}

impl Requirement {
    /// The name under which the requirement is told in errors.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::AtLeast(_) => "at_least_as_fresh_as",
            Self::AtMostOld(_) => "at_most_old",
            Self::Any => "any",
        }
    }
}

/// What the caller has seen of any store: no answer takes that back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(pub(crate) Vec<Token>);

impl Seen {
    /// What was seen of a store.
    pub(crate) fn of(&self, store_id: Uuid) -> Option<Token> {
        Token::newest_of(store_id, self.0.iter().copied())
    }

    /// Whether what shows this takes nothing back.
    fn is_in(&self, shown: Token) -> bool {
        self.of(shown.store_id).is_none_or(|seen| shown.covers(seen))
    }
}

/// What the copy shows, and how old that is at most; no age where this process never heard from the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyView {
    pub(crate) token: Token,
    pub(crate) age: Option<Duration>,
}

/// Where the answer has to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The copy is fresh enough.
    Copy,
    /// Only the arbiter can tell; when it cannot be reached, the answer is a refusal.
    Arbiter,
}

/// Decides where the answer to a first page comes from. `copy` is unset where none was built yet.
pub(crate) fn decide(requirement: Requirement, seen: &Seen, copy: Option<&CopyView>) -> Decision {
    let fresh_enough = match (requirement, copy) {
        (_, None) | (Requirement::Strong, _) => false,
        (Requirement::AtLeast(token), Some(copy)) => reached(token, copy.token),
        (Requirement::AtMostOld(limit), Some(copy)) => copy.age.is_some_and(|age| age <= limit),
        (Requirement::Any, Some(_)) => true,
    };
    let takes_nothing_back = copy.is_some_and(|copy| seen.is_in(copy.token));
    if fresh_enough && takes_nothing_back { Decision::Copy } else { Decision::Arbiter }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(store: u128, incarnation: u64, revision: u64) -> Token {
        Token { store_id: Uuid::from_u128(store), incarnation, revision }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_strong_read_never_comes_from_the_copy() {
        let copy = CopyView { token: token(1, 1, 9), age: Some(Duration::ZERO) };
        assert_eq!(decide(Requirement::Strong, &Seen::default(), Some(&copy)), Decision::Arbiter);
    }

    #[test]
    fn an_age_that_is_not_known_meets_no_limit() {
        let copy = CopyView { token: token(1, 1, 9), age: None };
        assert_eq!(
            decide(Requirement::AtMostOld(Duration::MAX), &Seen::default(), Some(&copy)),
            Decision::Arbiter
        );
        assert_eq!(decide(Requirement::Any, &Seen::default(), Some(&copy)), Decision::Copy);
    }

    #[test]
    fn a_limit_of_age_includes_itself() {
        let copy = CopyView { token: token(1, 1, 9), age: Some(seconds(2)) };
        assert_eq!(decide(Requirement::AtMostOld(seconds(2)), &Seen::default(), Some(&copy)), Decision::Copy);
        assert_eq!(
            decide(Requirement::AtMostOld(seconds(1)), &Seen::default(), Some(&copy)),
            Decision::Arbiter
        );
    }

    #[test]
    fn a_token_of_another_store_or_incarnation_is_for_the_arbiter_to_judge() {
        let copy = CopyView { token: token(1, 1, 9), age: Some(seconds(0)) };
        for other in [token(2, 1, 1), token(1, 2, 1), token(1, 0, 1), token(1, 1, 10)] {
            assert_eq!(decide(Requirement::AtLeast(other), &Seen::default(), Some(&copy)), Decision::Arbiter);
        }
        assert_eq!(
            decide(Requirement::AtLeast(token(1, 1, 9)), &Seen::default(), Some(&copy)),
            Decision::Copy
        );
    }

    #[test]
    fn what_the_caller_has_seen_is_not_taken_back_however_weak_its_wish() {
        let copy = CopyView { token: token(1, 2, 9), age: Some(seconds(1)) };
        for wish in
            [Requirement::Any, Requirement::AtMostOld(seconds(1)), Requirement::AtLeast(token(1, 2, 1))]
        {
            let decision = |tokens: &[Token]| decide(wish, &Seen(tokens.to_vec()), Some(&copy));
            assert_eq!(decision(&[token(1, 2, 9)]), Decision::Copy);
            assert_eq!(decision(&[token(1, 2, 10)]), Decision::Arbiter);
            assert_eq!(decision(&[token(1, 3, 1)]), Decision::Arbiter, "a newer incarnation than the copy's");
            // What is over, or of another store.
            assert_eq!(decision(&[token(1, 1, 99), token(2, 9, 99)]), Decision::Copy);
        }
    }

    proptest! {
        #[test]
        fn without_a_copy_the_arbiter_is_asked(age in any::<u64>(), revision in any::<u64>()) {
            for requirement in [
                Requirement::Strong,
                Requirement::Any,
                Requirement::AtMostOld(seconds(age)),
                Requirement::AtLeast(token(1, 1, revision)),
            ] {
                prop_assert_eq!(decide(requirement, &Seen::default(), None), Decision::Arbiter);
            }
        }

        #[test]
        fn a_write_is_seen_exactly_from_its_revision_on(wanted in any::<u64>(), shown in any::<u64>()) {
            let copy = CopyView { token: token(1, 1, shown), age: None };
            let from_copy = decide(Requirement::AtLeast(token(1, 1, wanted)), &Seen::default(), Some(&copy)) == Decision::Copy;
            prop_assert_eq!(from_copy, wanted <= shown);
        }
    }
}
