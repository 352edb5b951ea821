//! Cursors of polls: how far a reader has come, in which store and with which filter, so that an answer never goes on with
//! something else. A cursor of another store is told as a token of another store is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gameshelf::fields::Wrong;
use gameshelf::tokens::Token;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::Key;
use crate::watch::{Filter, Position};

const VERSION: u8 = 1;
/// Version, kind, store id, incarnation, revision.
const STORE_FROM: usize = 1 + 1;
const INCARNATION_FROM: usize = STORE_FROM + 16;
const REVISION_FROM: usize = INCARNATION_FROM + 8;
const HEAD_BYTES: usize = REVISION_FROM + 8;
const CHECK_BYTES: usize = 8;
const TEXT_MAX_BYTES: usize = 512;

/// Within a snapshot at its beginning, within it after a key, at its end, in the log, before the oldest commit.
const SNAPSHOT: u8 = 1;
const SNAPSHOT_AFTER: u8 = 2;
const SNAPSHOT_END: u8 = 3;
const TAIL: u8 = 4;
const EARLIEST: u8 = 5;

/// What a cursor belongs to: a store and a filter.
#[derive(Clone, Debug)]
pub(super) struct CursorScope {
    store: Token,
    hash: Sha256,
}

impl CursorScope {
    /// `store` is any token of the store.
    pub(super) fn new(store: Token, filter: &Filter) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"gameshelf.poll");
        for customer_id in &filter.customers {
            hash.update(customer_id.as_str().as_bytes());
            hash.update([0]);
        }
        hash.update([1]);
        for game_id in &filter.games {
            hash.update(game_id.as_str().as_bytes());
            hash.update([0]);
        }
        hash.update([1]);
        for partition in &filter.partitions {
            hash.update([*partition]);
        }
        Self { store, hash }
    }

    fn check(&self, body: &[u8]) -> [u8; CHECK_BYTES] {
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&self.hash.clone().chain_update(body).finalize()[..CHECK_BYTES]);
        check
    }

    /// The cursor of a place.
    pub(super) fn encode(&self, position: &Position) -> String {
        let (kind, revision, key) = match position {
            Position::Snapshot { at, after: None } => (SNAPSHOT, *at, None),
            Position::Snapshot { at, after: Some(key) } => (SNAPSHOT_AFTER, *at, Some(key)),
            Position::SnapshotEnd { at } => (SNAPSHOT_END, *at, None),
            Position::Tail { after } => (TAIL, *after, None),
            Position::Earliest => (EARLIEST, 0, None),
        };
        let mut bytes = vec![VERSION, kind];
        bytes.extend_from_slice(self.store.store_id.as_bytes());
        bytes.extend_from_slice(&self.store.incarnation.to_be_bytes());
        bytes.extend_from_slice(&revision.to_be_bytes());
        if let Some((customer_id, game_id)) = key {
            // An id has no control characters.
            bytes.extend_from_slice(customer_id.as_str().as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(game_id.as_str().as_bytes());
        }
        let check = self.check(&bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place of a cursor, and the store and revision that it is a place of, which may be another one than the scope's.
    pub(super) fn decode(&self, text: &str) -> Result<(Token, Position), CursorError> {
        let (body, sum) = parts(text)?;
        if self.check(&body)[..] != sum {
            return Err(CursorError);
        }
        let number =
            |from: usize| body[from..from + 8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let revision = number(REVISION_FROM);
        let position = match body[1] {
            SNAPSHOT => Position::Snapshot { at: revision, after: None },
            SNAPSHOT_AFTER => {
                let after = key(&body[HEAD_BYTES..]).ok_or(CursorError)?;
                Position::Snapshot { at: revision, after: Some(after) }
            }
            SNAPSHOT_END => Position::SnapshotEnd { at: revision },
            TAIL => Position::Tail { after: revision },
            EARLIEST => Position::Earliest,
            _ => return Err(CursorError),
        };
        let store_id = Uuid::from_slice(&body[STORE_FROM..INCARNATION_FROM]).map_err(|_| CursorError)?;
        Ok((Token { store_id, incarnation: number(INCARNATION_FROM), revision }, position))
    }
}

/// A text that is not a cursor of this filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the cursor of the answer before, with the filter as it was")]
pub(super) struct CursorError;

impl Wrong for CursorError {}

/// Whether a text has the form of a cursor, of whatever store and filter.
pub(super) fn check_form(text: &str) -> Result<(), CursorError> {
    parts(text).map(|_| ())
}

fn parts(text: &str) -> Result<(Vec<u8>, Vec<u8>), CursorError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(CursorError);
    }
    let mut body = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
    let body_bytes = body.len().checked_sub(CHECK_BYTES).ok_or(CursorError)?;
    let sum = body.split_off(body_bytes);
    if body.len() >= HEAD_BYTES && body[0] == VERSION { Ok((body, sum)) } else { Err(CursorError) }
}

fn key(bytes: &[u8]) -> Option<Key> {
    let (customer_id, game_id) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
    Some((customer_id.parse().ok()?, game_id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn store() -> Token {
        Token { store_id: uuid::Uuid::from_u128(7), incarnation: 1, revision: 0 }
    }

    fn position() -> impl Strategy<Value = Position> {
        (0..5, any::<u64>(), "[a-c é]{1,9}", "[a-z]{1,60}").prop_map(|(kind, revision, customer, game)| {
            match kind {
                0 => Position::Snapshot { at: revision, after: None },
                1 => Position::Snapshot {
                    at: revision,
                    after: Some((customer.parse().unwrap(), game.parse().unwrap())),
                },
                2 => Position::SnapshotEnd { at: revision },
                3 => Position::Tail { after: revision },
                _ => Position::Earliest,
            }
        })
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_with_the_same_filter_only(position in position()) {
            let filter = Filter { partitions: [3].into(), ..Filter::default() };
            let scope = CursorScope::new(store(), &filter);
            let text = scope.encode(&position);
            prop_assert_eq!(check_form(&text), Ok(()));
            let (token, read) = scope.decode(&text).unwrap();
            prop_assert_eq!((token.at(0), read), (store(), position));
            // Whoever reads it in another store learns whose it is.
            let elsewhere = CursorScope::new(Token { incarnation: 2, store_id: Uuid::from_u128(8), revision: 0 }, &filter);
            prop_assert_eq!(elsewhere.decode(&text).unwrap().0, token);
            let others = [
                CursorScope::new(store(), &Filter::default()),
                CursorScope::new(store(), &Filter { games: ["g".parse().unwrap()].into(), ..filter }),
            ];
            for other in others {
                prop_assert_eq!(other.decode(&text), Err(CursorError));
            }
        }

        #[test]
        fn other_text_is_refused(text in any::<String>()) {
            prop_assert_eq!(CursorScope::new(store(), &Filter::default()).decode(&text), Err(CursorError));
        }
    }
}
