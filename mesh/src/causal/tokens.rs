//! A set of tokens: of each scope the largest position, and of the scopes those that were heard of last.

use std::fmt;

use bytes::Bytes;

/// The scopes that are kept beside each other. Those that were not heard of for the longest time go first: a scope that
/// comes to its end (a store that was restored, say) is not heard of again.
pub const MAX_SCOPES: usize = 8;

/// The longest scope.
const MAX_SCOPE_BYTES: usize = 64;

/// What positions count in; only its owner understands it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope(Bytes);

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Scope({})", self.0.escape_ascii())
    }
}

/// Why bytes are no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a scope has 1 to 64 bytes, not {bytes}")]
pub struct ScopeError {
    /// How many there are.
    pub bytes: usize,
}

impl Scope {
    /// A scope of these bytes.
    ///
    /// # Errors
    /// When there are none, or more than 64.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, ScopeError> {
        let bytes = bytes.into();
        if (1..=MAX_SCOPE_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(ScopeError { bytes: bytes.len() })
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl<const N: usize> From<[u8; N]> for Scope {
    /// A scope whose length the compiler checks.
    fn from(bytes: [u8; N]) -> Self {
        const { assert!(N >= 1 && N <= MAX_SCOPE_BYTES, "a scope has 1 to 64 bytes") };
        Self(Bytes::copy_from_slice(&bytes))
    }
}

/// How much of one history was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Of which one.
    pub scope: Scope,
    /// How far.
    pub position: u64,
}

/// At most [`MAX_SCOPES`] tokens, each of another scope; the one that was heard of last stands last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens(Vec<Token>);

impl Tokens {
    pub(super) fn position(&self, scope: &Scope) -> Option<u64> {
        self.0.iter().find(|token| token.scope == *scope).map(|token| token.position)
    }

    pub(super) fn add(&mut self, mut token: Token) {
        if let Some(at) = self.0.iter().position(|known| known.scope == token.scope) {
            token.position = token.position.max(self.0.remove(at).position);
        } else if self.0.len() == MAX_SCOPES {
            self.0.remove(0);
        }
        self.0.push(token);
    }

    pub(super) fn merge(&mut self, others: &Self) {
        for token in &others.0 {
            self.add(token.clone());
        }
    }

    pub(super) fn as_slice(&self) -> &[Token] {
        &self.0
    }
}

impl IntoIterator for Tokens {
    type Item = Token;
    type IntoIter = std::vec::IntoIter<Token>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(scope: u8, position: u64) -> Token {
        Token { scope: Scope::new(vec![scope]).unwrap(), position }
    }

    #[test]
    fn a_scope_has_a_limit() {
        assert_eq!(Scope::new(vec![]), Err(ScopeError { bytes: 0 }));
        assert_eq!(Scope::new(vec![0; 65]), Err(ScopeError { bytes: 65 }));
        assert_eq!(Scope::new(vec![0; 64]), Ok(Scope::from([0; 64])));
    }

    #[test]
    fn the_scope_that_was_not_heard_of_for_the_longest_time_goes_first() {
        let mut tokens = Tokens::default();
        for scope in 0..8 {
            tokens.add(token(scope, 1));
        }
        tokens.add(token(0, 1));
        tokens.add(token(8, 1));
        assert_eq!(tokens.position(&token(1, 0).scope), None);
        assert_eq!(tokens.position(&token(0, 0).scope), Some(1));
    }

    proptest! {
        #[test]
        fn of_one_scope_the_larger_position_wins_and_there_are_at_most_eight(
            added in proptest::collection::vec((0u8..12, any::<u64>()), 0..60),
        ) {
            let mut tokens = Tokens::default();
            for (at, (scope, position)) in added.iter().enumerate() {
                let before = tokens.position(&token(*scope, 0).scope);
                tokens.add(token(*scope, *position));
                prop_assert_eq!(tokens.position(&token(*scope, 0).scope), Some(before.unwrap_or(0).max(*position)));
                prop_assert!(tokens.as_slice().len() <= MAX_SCOPES.min(at + 1));
            }
        }
    }
}
