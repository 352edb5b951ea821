//! Page tokens. All pages of a list show the revision of the first one, so a token holds it with the place that was reached.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gameshelf::fields::Wrong;
use gameshelf::tokens::Token;
use sha2::{Digest, Sha256};

use crate::domain::{CustomerId, GameId, Revision, Subject};

const VERSION: u8 = 2;
const HEAD_BYTES: usize = 1 + 8 + 8;
const CHECK_BYTES: usize = 8;
const TEXT_MAX_BYTES: usize = 512;

/// What a token belongs to: a store, and what is listed of it.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    hash: Sha256,
}

impl Scope {
    /// The list of a customer's games, as of a revision where it is not 0. `store` is any token of the store.
    pub(super) fn list(store: Token, customer_id: &CustomerId, as_of: Revision) -> Self {
        Self::new(store, &["list", customer_id.as_str(), &as_of.to_string()])
    }

    /// The history of a customer or of one of its games.
    pub(super) fn history(store: Token, (customer_id, game_id): &Subject) -> Self {
        let game_id = game_id.as_ref().map_or("", GameId::as_str);
        Self::new(store, &["history", customer_id.as_str(), game_id])
    }

    fn new(store: Token, names: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(store.store_id.as_bytes());
        hash.update(store.incarnation.to_be_bytes());
        for name in names {
            hash.update(name.as_bytes());
            hash.update([0]);
        }
        Self { hash }
    }

    /// Ties a token to what it belongs to.
    fn check(&self, body: &[u8]) -> [u8; CHECK_BYTES] {
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&self.hash.clone().chain_update(body).finalize()[..CHECK_BYTES]);
        check
    }
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageStart {
    /// The revision that all pages show.
    pub(super) revision: Revision,
    /// The revision of the last item of the page before, in a list that is ordered by it; otherwise 0.
    pub(super) after_revision: Revision,
    /// The game of the last item of the page before.
    pub(super) after: GameId,
}

/// A text that is not a page token of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_page_token of the page before, of the same list and store")]
pub(super) struct PageTokenError;

impl Wrong for PageTokenError {}

/// Whether a text has the form of a token, of whatever list.
pub(super) fn check_form(text: &str) -> Result<(), PageTokenError> {
    parts(text).map(|_| ())
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

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl PageStart {
    /// The token of the page that begins here.
    pub(super) fn encode(&self, scope: &Scope) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        bytes.extend_from_slice(&self.after_revision.to_be_bytes());
        bytes.extend_from_slice(self.after.as_str().as_bytes());
        let check = scope.check(&bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page of a token begins.
    pub(super) fn decode(text: &str, scope: &Scope) -> Result<Self, PageTokenError> {
        let (body, sum) = parts(text)?;
        if scope.check(&body)[..] != sum {
            return Err(PageTokenError);
        }
        let after = std::str::from_utf8(&body[HEAD_BYTES..]).map_err(|_| PageTokenError)?;
        Ok(Self {
            revision: number(&body[1..9]),
            after_revision: number(&body[9..HEAD_BYTES]),
            after: after.parse().map_err(|_| PageTokenError)?,
        })
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
        fn a_page_token_is_read_back(revision in any::<u64>(), after_revision in any::<u64>(), game in "[a-z0-9]{1,60}") {
            let customer: CustomerId = "c".parse().unwrap();
            let list = Scope::list(store(), &customer, 0);
            let start = PageStart { revision, after_revision, after: game.parse().unwrap() };
            let text = start.encode(&list);
            prop_assert_eq!(PageStart::decode(&text, &list), Ok(start));
            let others = [
                Scope::list(store(), &"d".parse().unwrap(), 0),
                Scope::list(store(), &customer, 3),
                Scope::list(Token { incarnation: 2, ..store() }, &customer, 0),
                Scope::history(store(), &(customer, None)),
            ];
            for other in others {
                prop_assert_eq!(PageStart::decode(&text, &other), Err(PageTokenError));
            }
        }

        #[test]
        fn other_text_is_refused(text in any::<String>()) {
            let list = Scope::list(store(), &"c".parse().unwrap(), 0);
            prop_assert_eq!(PageStart::decode(&text, &list), Err(PageTokenError));
        }
    }
}
