//! A hash of what a command asks for, so that the same request id with other content is noticed.
//!
//! It is taken of a versioned form of the command and not of the bytes of the wire, since protobuf has no canonical
//! encoding: the same request from another client may have other bytes.

use sha2::{Digest, Sha256};

use super::command::{Command, Key, OnNothingToDo, Operation, Precondition, StockAmount};

/// Changes whenever the form does; a stored hash then never equals a new one by accident.
const VERSION: u8 = 2;

impl Command {
    /// SHA-256 of the canonical form. Every part has a fixed length or is preceded by it, and every kind has a letter of its
    /// own, so that no two commands share a form.
    pub(crate) fn content_hash(&self) -> [u8; 32] {
        let mut form = Form(Vec::with_capacity(128));
        form.0.push(VERSION);
        form.0.extend(self.cause.reason.number().to_be_bytes());
        form.text(&self.cause.actor);
        form.text(&self.cause.order_id);
        self.preconditions.iter().for_each(|precondition| form.precondition(precondition));
        self.operations.iter().for_each(|operation| form.operation(operation));
        Sha256::digest(&form.0).into()
    }
}

struct Form(Vec<u8>);

impl Form {
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn optional(&mut self, number: Option<u64>) {
        self.0.push(u8::from(number.is_some()));
        self.number(number.unwrap_or_default());
    }

    fn key(&mut self, (customer_id, game_id): &Key) {
        self.text(customer_id.as_str());
        self.text(game_id.as_str());
    }

    fn choice(&mut self, choice: OnNothingToDo) {
        self.0.push(u8::from(choice == OnNothingToDo::Skip));
    }

    fn precondition(&mut self, precondition: &Precondition) {
        match precondition {
            Precondition::NotOwned(key) => {
                self.0.push(b'n');
                self.key(key);
            }
            Precondition::Owned(key) => {
                self.0.push(b'o');
                self.key(key);
            }
            Precondition::UnchangedSince { customer_id, game_id, revision } => {
                self.0.push(b'u');
                self.text(customer_id.as_str());
                self.text(game_id.as_ref().map_or("", |game_id| game_id.as_str()));
                self.number(*revision);
            }
        }
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Grant { key, on_owned, ends_at_ms } => {
                self.0.push(b'G');
                self.key(key);
                self.choice(*on_owned);
                self.optional(*ends_at_ms);
            }
            Operation::Revoke { key, on_not_owned } => {
                self.0.push(b'R');
                self.key(key);
                self.choice(*on_not_owned);
            }
            Operation::Transfer { from, to, game_id } => {
                self.0.push(b'T');
                self.text(from.as_str());
                self.text(to.as_str());
                self.text(game_id.as_str());
            }
            Operation::Reserve { key, hold_ms } => {
                self.0.push(b'H');
                self.key(key);
                self.number(*hold_ms);
            }
            Operation::SetStock { game_id, amount } => {
                self.0.push(b'S');
                self.text(game_id.as_str());
                let (kind, copies) = match amount {
                    StockAmount::Total(total) => (b't', total),
                    StockAmount::Add(copies) => (b'a', copies),
                };
                self.0.push(kind);
                self.number(*copies);
            }
            Operation::End { key } => {
                self.0.push(b'E');
                self.key(key);
            }
            Operation::Confirm { reservation_id } => self.reservation(b'C', reservation_id.as_uuid()),
            Operation::Release { reservation_id } => self.reservation(b'L', reservation_id.as_uuid()),
            Operation::Expire { reservation_id } => self.reservation(b'X', reservation_id.as_uuid()),
        }
    }

    fn reservation(&mut self, kind: u8, reservation_id: uuid::Uuid) {
        self.0.push(kind);
        self.0.extend(reservation_id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Cause, Reason, RequestId};

    fn key(customer_id: &str, game_id: &str) -> Key {
        (customer_id.parse().unwrap(), game_id.parse().unwrap())
    }

    fn operations() -> Vec<Operation> {
        let (on_owned, on_not_owned) = (OnNothingToDo::Refuse, OnNothingToDo::Refuse);
        let reservation_id = RequestId::new_v7(1, [1; 10]);
        let game_id = "g".parse().unwrap();
        let other_game = "h".parse().unwrap();
        vec![
            Operation::Grant { key: key("c", "g"), on_owned, ends_at_ms: None },
            Operation::Grant { key: key("cg", "g"), on_owned, ends_at_ms: None },
            Operation::Grant { key: key("c", "gg"), on_owned, ends_at_ms: None },
            Operation::Grant { key: key("c", "g"), on_owned: OnNothingToDo::Skip, ends_at_ms: None },
            Operation::Grant { key: key("c", "g"), on_owned, ends_at_ms: Some(0) },
            Operation::Grant { key: key("c", "g"), on_owned, ends_at_ms: Some(1) },
            Operation::Revoke { key: key("c", "g"), on_not_owned },
            Operation::Revoke { key: key("c", "g"), on_not_owned: OnNothingToDo::Skip },
            Operation::Transfer { from: "c".parse().unwrap(), to: "d".parse().unwrap(), game_id },
            Operation::Transfer { from: "d".parse().unwrap(), to: "c".parse().unwrap(), game_id: other_game },
            Operation::Reserve { key: key("c", "g"), hold_ms: 1 },
            Operation::Reserve { key: key("c", "g"), hold_ms: 2 },
            Operation::Confirm { reservation_id },
            Operation::Release { reservation_id },
            Operation::Expire { reservation_id },
            Operation::End { key: key("c", "g") },
            Operation::SetStock { game_id: "g".parse().unwrap(), amount: StockAmount::Total(1) },
            Operation::SetStock { game_id: "g".parse().unwrap(), amount: StockAmount::Add(1) },
        ]
    }

    fn preconditions() -> Vec<Precondition> {
        let unchanged = |game_id: Option<&str>, revision| Precondition::UnchangedSince {
            customer_id: "c".parse().unwrap(),
            game_id: game_id.map(|game_id| game_id.parse().unwrap()),
            revision,
        };
        vec![
            Precondition::NotOwned(key("c", "g")),
            Precondition::Owned(key("c", "g")),
            unchanged(None, 1),
            unchanged(Some("g"), 1),
            unchanged(None, 2),
        ]
    }

    #[test]
    fn every_part_of_the_content_counts() {
        let cause = |reason, actor: &str, order_id: &str| {
            Arc::new(Cause { reason, actor: actor.to_owned(), order_id: order_id.to_owned() })
        };
        let gift = cause(Reason::Gift, "", "");
        let mut commands = Vec::new();
        for operation in operations() {
            let operations = vec![operation];
            commands.push(Command { preconditions: Vec::new(), operations, cause: Arc::clone(&gift) });
        }
        for precondition in preconditions() {
            let (preconditions, operations) = (vec![precondition], operations()[..1].to_vec());
            commands.push(Command { preconditions, operations, cause: Arc::clone(&gift) });
        }
        for cause in
            [cause(Reason::Refund, "", ""), cause(Reason::Gift, "x", ""), cause(Reason::Gift, "", "x")]
        {
            commands.push(Command {
                preconditions: Vec::new(),
                operations: operations()[..1].to_vec(),
                cause,
            });
        }
        let two = operations()[..2].to_vec();
        commands.push(Command { preconditions: Vec::new(), operations: two, cause: gift });
        let hashes: HashSet<_> = commands.iter().map(Command::content_hash).collect();
        assert_eq!(hashes.len(), commands.len(), "no two of them share a hash");
        assert_eq!(commands[0].content_hash(), commands[0].clone().content_hash());
    }
}
