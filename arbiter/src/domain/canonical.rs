//! A hash of what a command asks for, so that the same request id with other content is noticed.
//!
//! It is taken of a versioned form of the command and not of the bytes of the wire, since protobuf has no canonical
//! encoding: the same request from another client may have other bytes.

use sha2::{Digest, Sha256};

use super::command::{Cause, Command, CustomerId, GameId, OnNotOwned, OnOwned};

/// Changes whenever the form does; a stored hash then never equals a new one by accident.
const VERSION: u8 = 1;

impl Command {
    /// SHA-256 of the canonical form. Every part is preceded by its length, so that no two commands share a form.
    pub(crate) fn content_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update([VERSION]);
        match self {
            Self::Grant(grant) => {
                let skip = u8::from(grant.on_owned == OnOwned::Skip);
                update(&mut hash, [b'G', skip], &grant.customer_id, &grant.game_ids, &grant.cause);
            }
            Self::Revoke(revoke) => {
                let skip = u8::from(revoke.on_not_owned == OnNotOwned::Skip);
                update(&mut hash, [b'R', skip], &revoke.customer_id, &revoke.game_ids, &revoke.cause);
            }
        }
        hash.finalize().into()
    }
}

fn update(hash: &mut Sha256, kind: [u8; 2], customer_id: &CustomerId, game_ids: &[GameId], cause: &Cause) {
    hash.update(kind);
    hash.update(cause.reason.number().to_be_bytes());
    let texts = [customer_id.as_str(), &cause.actor, &cause.order_id];
    for text in texts.into_iter().chain(game_ids.iter().map(GameId::as_str)) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Grant, Reason};

    fn grant(customer_id: &str, games: &[&str]) -> Grant {
        Grant {
            customer_id: customer_id.parse().unwrap(),
            game_ids: games.iter().map(|game| game.parse().unwrap()).collect(),
            on_owned: OnOwned::Refuse,
            cause: Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() },
        }
    }

    #[test]
    fn every_part_of_the_content_counts() {
        let base = grant("c", &["a", "b"]);
        let hash = |grant: Grant| Command::Grant(grant).content_hash();
        assert_eq!(hash(base.clone()), hash(base.clone()));
        let others = [
            grant("c", &["ab"]),
            grant("c", &["a"]),
            grant("d", &["a", "b"]),
            Grant { on_owned: OnOwned::Skip, ..base.clone() },
            Grant { cause: Cause { reason: Reason::Refund, ..base.cause.clone() }, ..base.clone() },
            Grant { cause: Cause { actor: "x".into(), ..base.cause.clone() }, ..base.clone() },
            Grant { cause: Cause { order_id: "x".into(), ..base.cause.clone() }, ..base.clone() },
        ];
        for other in others {
            assert_ne!(hash(base.clone()), hash(other.clone()), "{other:?}");
        }
    }
}
