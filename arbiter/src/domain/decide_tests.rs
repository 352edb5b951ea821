//! The rules, one by one.

mod limited;
mod ownership;
mod precondition;

use std::collections::HashMap;
use std::sync::Arc;

use super::decide::Decision;
use super::*;

const NOW_MS: u64 = 1_000_000;
const RULES: Rules = Rules { reservations_per_customer: 2, limited_editions: 2 };

fn key(customer_id: &str, game_id: &str) -> Key {
    (customer_id.parse().unwrap(), game_id.parse().unwrap())
}

fn id(number: u64) -> RequestId {
    RequestId::new_v7(number, [5; 10])
}

fn cause() -> Arc<Cause> {
    Arc::new(Cause { reason: Reason::Gift, actor: "a".to_owned(), order_id: String::new() })
}

fn grant(customer_id: &str, game_id: &str) -> Operation {
    Operation::Grant { key: key(customer_id, game_id), on_owned: OnNothingToDo::Refuse, ends_at_ms: None }
}

fn revoke(customer_id: &str, game_id: &str) -> Operation {
    Operation::Revoke { key: key(customer_id, game_id), on_not_owned: OnNothingToDo::Refuse }
}

fn transfer(from: &str, to: &str, game_id: &str) -> Operation {
    Operation::Transfer {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        game_id: game_id.parse().unwrap(),
    }
}

fn reserve(customer_id: &str, game_id: &str) -> Operation {
    Operation::Reserve { key: key(customer_id, game_id), hold_ms: 1_000 }
}

fn set_stock(game_id: &str, amount: StockAmount) -> Operation {
    Operation::SetStock { game_id: game_id.parse().unwrap(), amount }
}

/// What is stored before a batch.
#[derive(Default)]
struct Stored {
    stocks: HashMap<GameId, Stock>,
    owned: Vec<Entitlement>,
}

impl Stored {
    /// Copies of a limited edition: all, and those that are sold.
    fn stock(mut self, game_id: &str, total: u64, sold: u64) -> Self {
        let game_id: GameId = game_id.parse().unwrap();
        let stock = Stock { game_id: game_id.clone(), total, sold, reserved: 0 };
        self.stocks.insert(game_id, stock);
        self
    }

    fn owned(mut self, customer_id: &str, game_id: &str, ends_at_ms: Option<u64>) -> Self {
        let from_stock = self.stocks.contains_key(&game_id.parse::<GameId>().unwrap());
        self.owned.push(Entitlement {
            customer_id: customer_id.parse().unwrap(),
            game_id: game_id.parse().unwrap(),
            valid_from: 1,
            granted_at_ms: 1,
            cause: cause(),
            ends_at_ms,
            from_stock,
        });
        self
    }

    fn batch(&self) -> Deciding<'_> {
        let mut state = State::new(&self.stocks);
        for one in &self.owned {
            state.know(one.key(), Some(Arc::new(one.clone())));
        }
        Deciding { state, head: 10, now_ms: NOW_MS, decided: 0 }
    }
}

/// A batch that is being decided.
struct Deciding<'a> {
    state: State<'a>,
    head: Revision,
    now_ms: u64,
    decided: u64,
}

impl Deciding<'_> {
    /// Decides a request; the first one has the id 1, and so on.
    fn decide(&mut self, preconditions: Vec<Precondition>, operations: Vec<Operation>) -> Decision {
        self.decided += 1;
        let command = Command { preconditions, operations, cause: cause() };
        let moment = Moment { head: self.head, now_ms: self.now_ms };
        let decision = decide(id(self.decided), &command, &mut self.state, moment, &RULES);
        self.head += u64::from(!decision.changes.is_empty());
        decision
    }

    /// Does what must be accepted.
    fn done(&mut self, operations: Vec<Operation>) -> Vec<bool> {
        match self.decide(Vec::new(), operations).verdict {
            Verdict::Accepted { changed, .. } => changed,
            refused @ Verdict::Refused { .. } => panic!("{refused:?}"),
        }
    }

    /// Asks for what must be refused, and says why.
    fn refused(&mut self, operations: Vec<Operation>) -> Vec<(u32, RefusalKind)> {
        let decision = self.decide(Vec::new(), operations);
        assert_eq!(decision.changes, []);
        match decision.verdict {
            Verdict::Refused { items } => items,
            accepted @ Verdict::Accepted { .. } => panic!("{accepted:?}"),
        }
    }

    fn owns(&mut self, customer_id: &str, game_id: &str) -> bool {
        self.state.get(&key(customer_id, game_id)).is_some()
    }

    /// All copies, those that are sold, and those that are reserved.
    fn copies(&self, game_id: &str) -> (u64, u64, u64) {
        let stock = self.state.stock(&game_id.parse().unwrap()).unwrap();
        (stock.total, stock.sold, stock.reserved)
    }
}
