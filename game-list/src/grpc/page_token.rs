//! Page tokens: opaque text, bound to the customer whose list goes on.
//!
//! A token is read back only with the customer that it was made for, since the check at its end covers the customer
//! too. It is no secret: it keeps callers from mistakes, and whoever forges one sees only what any caller may ask for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gameshelf::fields::Wrong;
use gameshelf::ids::CustomerId;
use sha2::{Digest, Sha256};

use crate::list::Cursor;

/// The first byte of every token, so that its form can change.
const VERSION: u8 = 1;
const FROM_COPY: u8 = 1;
const FROM_ARBITER: u8 = 2;
const CHECK_BYTES: usize = 8;
/// The longest text that is read; what is made here is shorter as long as the arbiter's page tokens are below 3 KB.
const TEXT_MAX_BYTES: usize = 4096;

/// A text that is no page token of this customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be empty, or the next_page_token of this customer's page before")]
pub(crate) struct PageTokenError;

impl Wrong for PageTokenError {}

/// The cursor as text.
pub(crate) fn encode(customer_id: &CustomerId, cursor: &Cursor) -> String {
    let mut bytes = vec![VERSION];
    match cursor {
        Cursor::Copy { first, after } => {
            bytes.push(FROM_COPY);
            bytes.extend(format!("{first} {after}").into_bytes());
        }
        Cursor::Arbiter { page_token } => {
            bytes.push(FROM_ARBITER);
            bytes.extend(page_token.as_bytes());
        }
    }
    bytes.extend(check(customer_id, &bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether a text has the form of a token, of whatever customer; an empty text has.
pub(crate) fn check_form(text: &str) -> Result<(), PageTokenError> {
    if text.is_empty() { Ok(()) } else { signed(text).map(|_| ()) }
}

/// What is signed, with the check of it at its end.
fn signed(text: &str) -> Result<Vec<u8>, PageTokenError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(PageTokenError);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PageTokenError)?;
    if bytes.len() > CHECK_BYTES && bytes[0] == VERSION { Ok(bytes) } else { Err(PageTokenError) }
}

/// Reads a cursor back; an empty text is the first page.
pub(crate) fn decode(customer_id: &CustomerId, text: &str) -> Result<Option<Cursor>, PageTokenError> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = signed(text)?;
    let (signed, sum) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(PageTokenError)?;
    if check(customer_id, signed) != *sum {
        return Err(PageTokenError);
    }
    let [VERSION, kind, body @ ..] = signed else { return Err(PageTokenError) };
    let body = std::str::from_utf8(body).map_err(|_| PageTokenError)?;
    match *kind {
        FROM_COPY => {
            let (first, after) = body.split_once(' ').ok_or(PageTokenError)?;
            let first = first.parse().map_err(|_| PageTokenError)?;
            Ok(Some(Cursor::Copy { first, after: after.parse().map_err(|_| PageTokenError)? }))
        }
        FROM_ARBITER => Ok(Some(Cursor::Arbiter { page_token: body.to_owned() })),
        _ => Err(PageTokenError),
    }
}

fn check(customer_id: &CustomerId, signed: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new_with_prefix(b"game-list page token");
    hash.update((customer_id.as_str().len() as u64).to_be_bytes());
    hash.update(customer_id.as_str());
    hash.update(signed);
    let hash: [u8; 32] = hash.finalize().into();
    let mut sum = [0; CHECK_BYTES];
    sum.copy_from_slice(&hash[..CHECK_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::tokens::Token;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn customer(text: &str) -> CustomerId {
        text.parse().unwrap()
    }

    fn cursor() -> impl Strategy<Value = Cursor> {
        let copy = ("[a-z0-9]{1,60}", any::<u64>()).prop_map(|(game, revision)| Cursor::Copy {
            first: Token { store_id: Uuid::from_u128(1), incarnation: 1, revision },
            after: game.parse().unwrap(),
        });
        prop_oneof![copy, "\\PC{1,99}".prop_map(|page_token| Cursor::Arbiter { page_token })]
    }

    proptest! {
        #[test]
        fn a_token_is_read_back_for_its_customer_only(cursor in cursor(), other in "[b-z]{1,9}") {
            let text = encode(&customer("a"), &cursor);
            prop_assert_eq!(decode(&customer("a"), &text), Ok(Some(cursor)));
            prop_assert_eq!(decode(&customer(&other), &text), Err(PageTokenError));
        }

        #[test]
        fn a_changed_token_is_refused(cursor in cursor(), place in 0_usize..40, other in "[A-Za-z0-9_-]") {
            let text = encode(&customer("a"), &cursor);
            let place = place % text.len();
            let mut changed = text.clone();
            changed.replace_range(place..=place, &other);
            prop_assume!(changed != text);
            prop_assert_eq!(decode(&customer("a"), &changed), Err(PageTokenError));
            prop_assert_eq!(decode(&customer("a"), &text[..place]).ok().flatten(), None);
        }

        #[test]
        fn other_text_is_refused(text in "\\PC+") {
            prop_assert_eq!(decode(&customer("a"), &text), Err(PageTokenError));
        }
    }
}
