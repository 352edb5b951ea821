//! Freshness tokens: what a write returns, and a later read asks to be at least as fresh as.
//!
//! To callers a token is opaque text. It names the store and the incarnation that its revision belongs to, since a
//! revision alone means nothing in another store, or after a store was restored.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::fields::Wrong;

/// The first byte of every token, so that its form can change.
const VERSION: u8 = 1;
/// Store id, incarnation.
const SCOPE_BYTES: usize = 16 + 8;
/// Version, store id, incarnation, revision.
const BODY_BYTES: usize = 1 + 16 + 8 + 8;
/// A few bytes of a hash, so that a token that was cut or mistyped is refused instead of meaning something else.
const CHECK_BYTES: usize = 4;
/// A token as text is far shorter than this; longer text is refused unread.
const TEXT_MAX_BYTES: usize = 128;

/// A revision of one incarnation of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The store.
    pub store_id: Uuid,
    /// Grows when the store is restored or its continuity is not proven.
    pub incarnation: u64,
    /// The revision.
    pub revision: u64,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a token that this service returned")]
pub struct TokenError;

impl Wrong for TokenError {}

impl Token {
    /// The same store and incarnation at another revision.
    #[must_use]
    pub fn at(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// What the revision counts in, as bytes: the store and its incarnation.
    #[must_use]
    pub fn scope(self) -> [u8; SCOPE_BYTES] {
        let mut scope = [0; SCOPE_BYTES];
        scope.copy_from_slice(&self.body()[1..=SCOPE_BYTES]);
        scope
    }

    /// The token of a revision in a scope; none where the bytes are no scope of a store.
    #[must_use]
    pub fn in_scope(scope: &[u8], revision: u64) -> Option<Self> {
        let (store, incarnation) = scope.split_at_checked(16)?;
        Some(Self {
            store_id: Uuid::from_slice(store).ok()?,
            incarnation: u64::from_be_bytes(incarnation.try_into().ok()?),
            revision,
        })
    }

    /// Of all that was seen what is newest of a store: of a later incarnation before an earlier one, whose place that took.
    pub fn newest_of(store_id: Uuid, seen: impl IntoIterator<Item = Self>) -> Option<Self> {
        let of_store = seen.into_iter().filter(|token| token.store_id == store_id);
        of_store.max_by_key(|token| (token.incarnation, token.revision))
    }

    /// Whether what shows this token shows what the other one stands for too, of the same store: the same incarnation at no
    /// earlier revision, or a later incarnation, which took the other's place.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        (self.incarnation, self.revision) >= (other.incarnation, other.revision)
    }

    fn body(self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[0] = VERSION;
        body[1..17].copy_from_slice(self.store_id.as_bytes());
        body[17..25].copy_from_slice(&self.incarnation.to_be_bytes());
        body[25..].copy_from_slice(&self.revision.to_be_bytes());
        body
    }
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = Sha256::digest(body);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        let mut bytes = [0; BODY_BYTES + CHECK_BYTES];
        bytes[..BODY_BYTES].copy_from_slice(&body);
        bytes[BODY_BYTES..].copy_from_slice(&check(&body));
        formatter.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(TokenError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError)?;
        if bytes.len() != BODY_BYTES + CHECK_BYTES || bytes[0] != VERSION {
            return Err(TokenError);
        }
        let (body, sum) = bytes.split_at(BODY_BYTES);
        if check(body) != sum {
            return Err(TokenError);
        }
        let number = |range: std::ops::Range<usize>| {
            body[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        Ok(Self {
            store_id: Uuid::from_slice(&body[1..17]).map_err(|_| TokenError)?,
            incarnation: number(17..25),
            revision: number(25..33),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_what_was_seen_the_newest_of_the_store_counts() {
        let token =
            |store, incarnation, revision| Token { store_id: Uuid::from_u128(store), incarnation, revision };
        let newest = |seen: &[Token]| Token::newest_of(Uuid::from_u128(1), seen.iter().copied());
        assert_eq!(newest(&[]), None);
        assert_eq!(newest(&[token(2, 1, 5)]), None);
        assert_eq!(newest(&[token(1, 1, 5), token(2, 9, 9)]), Some(token(1, 1, 5)));
        assert_eq!(newest(&[token(1, 2, 3), token(1, 1, 5)]), Some(token(1, 2, 3)));
        assert!(token(1, 2, 3).covers(token(1, 1, 5)) && token(1, 1, 5).covers(token(1, 1, 5)));
        assert!(!token(1, 1, 4).covers(token(1, 1, 5)) && !token(1, 1, 9).covers(token(1, 2, 0)));
    }

    proptest! {
        #[test]
        fn a_token_is_read_back(store in any::<u128>(), incarnation in any::<u64>(), revision in any::<u64>()) {
            let token = Token { store_id: Uuid::from_u128(store), incarnation, revision };
            prop_assert_eq!(token.to_string().parse::<Token>(), Ok(token));
            prop_assert_eq!(Token::in_scope(&token.scope(), revision), Some(token));
            prop_assert_eq!(Token::in_scope(&token.scope()[1..], revision), None);
        }

        #[test]
        fn other_text_is_refused(text in any::<String>()) {
            prop_assert_eq!(text.parse::<Token>(), Err(TokenError));
        }

        #[test]
        fn a_changed_character_is_noticed(revision in any::<u64>(), place in 0_usize..44, other in "[A-Za-z0-9_-]") {
            let text = Token { store_id: Uuid::max(), incarnation: 1, revision }.to_string();
            let mut changed = text.clone();
            changed.replace_range(place..=place, &other);
            prop_assume!(changed != text);
            prop_assert_eq!(changed.parse::<Token>(), Err(TokenError));
        }
    }
}
