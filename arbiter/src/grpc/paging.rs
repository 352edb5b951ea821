//! Page tokens of a list. All pages show the revision of the first one, so a token holds it with the last game shown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gameshelf::tokens::Token;
use sha2::{Digest, Sha256};

use crate::domain::{CustomerId, GameId, Revision};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 8;
const CHECK_BYTES: usize = 8;
const TEXT_MAX_BYTES: usize = 512;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageStart {
    /// The revision that all pages show.
    pub(super) revision: Revision,
    /// The last game of the page before.
    pub(super) after: GameId,
}

/// A text that is not a page token of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_page_token of the page before, for the same customer and store")]
pub(super) struct PageTokenError;

/// Ties a token to the store and the customer it was made for.
fn check(store: Token, customer_id: &CustomerId, body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    hash.update(store.store_id.as_bytes());
    hash.update(store.incarnation.to_be_bytes());
    hash.update(customer_id.as_str().as_bytes());
    hash.update([0]);
    hash.update(body);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.finalize()[..CHECK_BYTES]);
    check
}

impl PageStart {
    /// The token of the page that begins here. `store` is any token of the store.
    pub(super) fn encode(&self, store: Token, customer_id: &CustomerId) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        bytes.extend_from_slice(self.after.as_str().as_bytes());
        let check = check(store, customer_id, &bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a text has the form of a token, of whatever list.
    pub(super) fn check_form(text: &str) -> Result<(), PageTokenError> {
        Self::parts(text).map(|_| ())
    }

    /// The body of a token, and the check that ties it to its list.
    fn parts(text: &str) -> Result<(Vec<u8>, Vec<u8>), PageTokenError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(PageTokenError);
        }
        let mut body = URL_SAFE_NO_PAD.decode(text).map_err(|_| PageTokenError)?;
        let body_bytes = body.len().checked_sub(CHECK_BYTES).ok_or(PageTokenError)?;
        let sum = body.split_off(body_bytes);
        if body.len() > HEAD_BYTES && body[0] == VERSION { Ok((body, sum)) } else { Err(PageTokenError) }
    }

    /// Where the page of a token begins.
    pub(super) fn decode(text: &str, store: Token, customer_id: &CustomerId) -> Result<Self, PageTokenError> {
        let (body, sum) = Self::parts(text)?;
        if check(store, customer_id, &body)[..] != sum {
            return Err(PageTokenError);
        }
        let revision = body[1..HEAD_BYTES].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let after = std::str::from_utf8(&body[HEAD_BYTES..]).map_err(|_| PageTokenError)?;
        Ok(Self { revision, after: after.parse().map_err(|_| PageTokenError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn store() -> Token {
        Token { store_id: uuid::Uuid::from_u128(7), incarnation: 1, revision: 0 }
    }

    proptest! {
        #[test]
        fn a_page_token_is_read_back(revision in any::<u64>(), game in "[a-z0-9]{1,60}") {
            let customer: CustomerId = "c".parse().unwrap();
            let start = PageStart { revision, after: game.parse().unwrap() };
            let text = start.encode(store(), &customer);
            prop_assert_eq!(PageStart::decode(&text, store(), &customer), Ok(start));
            let other: CustomerId = "d".parse().unwrap();
            prop_assert_eq!(PageStart::decode(&text, store(), &other), Err(PageTokenError));
            let restored = Token { incarnation: 2, ..store() };
            prop_assert_eq!(PageStart::decode(&text, restored, &customer), Err(PageTokenError));
        }

        #[test]
        fn other_text_is_refused(text in any::<String>()) {
            prop_assert_eq!(PageStart::decode(&text, store(), &"c".parse().unwrap()), Err(PageTokenError));
        }
    }
}
