//! Page tokens of the catalogue. All pages are of one catalogue, so a token holds its hash with the place that was reached.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gameshelf::catalog;
use gameshelf::fields::Wrong;
use gameshelf::ids::GameId;
use sha2::{Digest, Sha256};

/// The first byte of every token, so that its form can change.
const VERSION: u8 = 1;
const HASH_BYTES: usize = 64;
const CHECK_BYTES: usize = 8;
const TEXT_MAX_BYTES: usize = 512;

/// A text that is no page token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be empty, or the next_page_token of the page before")]
pub(super) struct PageTokenError;

impl Wrong for PageTokenError {}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageStart {
    /// The catalogue that the pages before are of.
    pub(super) catalog_hash: String,
    /// The last game of the page before.
    pub(super) after: GameId,
}

impl PageStart {
    /// The token of the page that begins here.
    pub(super) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.catalog_hash.as_bytes());
        bytes.extend_from_slice(self.after.as_str().as_bytes());
        bytes.extend_from_slice(&check(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page of a token begins.
    pub(super) fn decode(text: &str) -> Result<Self, PageTokenError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(PageTokenError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PageTokenError)?;
        let (body, sum) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(PageTokenError)?;
        let Some((&VERSION, body_text)) = body.split_first() else { return Err(PageTokenError) };
        if check(body) != *sum {
            return Err(PageTokenError);
        }
        let body_text = std::str::from_utf8(body_text).map_err(|_| PageTokenError)?;
        let (catalog_hash, after) = body_text.split_at_checked(HASH_BYTES).ok_or(PageTokenError)?;
        catalog::check_hash(catalog_hash).map_err(|_| PageTokenError)?;
        let after = after.parse().map_err(|_| PageTokenError)?;
        Ok(Self { catalog_hash: catalog_hash.to_owned(), after })
    }
}

/// Keeps callers from mistakes; it is no secret, and whoever forges a token sees only what any caller may ask for.
fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let hash = Sha256::new_with_prefix(b"purchase catalog page token").chain_update(body).finalize();
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_is_read_back_and_a_changed_one_is_refused(
            catalog_hash in "[0-9a-f]{64}",
            after in "[a-z0-9]{1,128}",
            place in 0_usize..90,
            other in "[A-Za-z0-9_-]",
        ) {
            let start = PageStart { catalog_hash, after: after.parse().unwrap() };
            let text = start.encode();
            prop_assert_eq!(PageStart::decode(&text), Ok(start));
            let mut changed = text.clone();
            changed.replace_range(place..=place, &other);
            prop_assume!(changed != text);
            prop_assert_eq!(PageStart::decode(&changed), Err(PageTokenError));
        }

        #[test]
        fn other_text_is_refused(text in any::<String>()) {
            prop_assert_eq!(PageStart::decode(&text), Err(PageTokenError));
        }
    }
}
