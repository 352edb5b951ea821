//! What has to be known before a command can be decided.

use std::collections::HashSet;

use super::command::{Command, CustomerId, GameId, Key, Operation, Precondition, ReservationId};

/// What may have changed: everything that a customer owns, or one game of it.
pub(crate) type Subject = (CustomerId, Option<GameId>);

/// What the decisions on some commands depend on, each named once. Stocks are always known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Whether customers own games.
    pub(crate) keys: HashSet<Key>,
    /// Reservations, and with them whether their customers own their games.
    pub(crate) reservations: HashSet<ReservationId>,
    /// Customers whose open reservations count.
    pub(crate) reserving: HashSet<CustomerId>,
    /// When something changed last.
    pub(crate) last_changes: HashSet<Subject>,
}

impl Needs {
    /// Adds what a command depends on.
    pub(crate) fn add(&mut self, command: &Command) {
        for precondition in &command.preconditions {
            match precondition {
                Precondition::NotOwned(key) | Precondition::Owned(key) => {
                    self.keys.insert(key.clone());
                }
                Precondition::UnchangedSince { customer_id, game_id, .. } => {
                    self.last_changes.insert((customer_id.clone(), game_id.clone()));
                }
            }
        }
        for operation in &command.operations {
            self.add_operation(operation);
        }
    }

    fn add_operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Grant { key, .. } | Operation::Revoke { key, .. } | Operation::End { key } => {
                self.keys.insert(key.clone());
            }
            Operation::Transfer { from, to, game_id } => {
                self.keys.insert((from.clone(), game_id.clone()));
                self.keys.insert((to.clone(), game_id.clone()));
            }
            Operation::Reserve { key, .. } => {
                self.reserving.insert(key.0.clone());
                self.keys.insert(key.clone());
            }
            Operation::Confirm { reservation_id }
            | Operation::Release { reservation_id }
            | Operation::Expire { reservation_id } => {
                self.reservations.insert(*reservation_id);
            }
            Operation::SetStock { .. } => {}
        }
    }

    /// Whether nothing but the ownership of keys is needed.
    pub(crate) fn is_only_keys(&self) -> bool {
        self.reservations.is_empty() && self.reserving.is_empty() && self.last_changes.is_empty()
    }
}
