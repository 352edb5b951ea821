//! What a copy is made of.

use std::collections::BTreeMap;

use gameshelf::digest::{self, Digest};
use gameshelf::tokens::Token;

/// A customer owning a game.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The partition of the customer.
    pub partition: u8,
    /// The customer.
    pub customer_id: String,
    /// The game.
    pub game_id: String,
    /// The revision since which the customer owns the game.
    pub since_revision: u64,
}

impl Row {
    /// A row, with the partition that its customer falls into.
    #[must_use]
    pub fn new(customer_id: String, game_id: String, since_revision: u64) -> Self {
        Self { partition: digest::partition(&customer_id), customer_id, game_id, since_revision }
    }

    /// What the row counts in the digest of its partition.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_row(&self.customer_id, &self.game_id, self.since_revision)
    }
}

/// A change of ownership of one game by one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The partition of the customer.
    pub partition: u8,
    /// The customer.
    pub customer_id: String,
    /// The game.
    pub game_id: String,
    /// Whether the customer owns the game from then on, or no longer.
    pub granted: bool,
}

/// Everything that one request changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its place in the one order.
    pub revision: u64,
    /// What it changed of ownership; none where it changed something else.
    pub changes: Vec<Change>,
    /// The W3C `traceparent` of the request; empty when it is not recorded.
    pub traceparent: String,
}

/// Commits that are applied in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// What the copy shows before.
    pub from: Token,
    /// What it shows afterwards: the checkpoint that is written with the rows.
    pub to: Token,
    /// The commits, without a gap.
    pub commits: &'a [Commit],
    /// What they come to in the end: each customer and game once, ordered by partition, customer and game.
    pub net: Vec<NetChange<'a>>,
}

/// What became of a game of a customer in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetChange<'a> {
    /// The partition of the customer.
    pub partition: u8,
    /// The customer.
    pub customer_id: &'a str,
    /// The game.
    pub game_id: &'a str,
    /// The revision since which the customer owns the game; none where it is not owned any more.
    pub since_revision: Option<u64>,
}

impl<'a> Batch<'a> {
    /// Commits that lead from one state to another.
    #[must_use]
    pub fn new(from: Token, to: Token, commits: &'a [Commit]) -> Self {
        let mut net = BTreeMap::new();
        for commit in commits {
            for change in &commit.changes {
                let key = (change.partition, change.customer_id.as_str(), change.game_id.as_str());
                net.insert(key, change.granted.then_some(commit.revision));
            }
        }
        let net = net.into_iter().map(|((partition, customer_id, game_id), since_revision)| NetChange {
            partition,
            customer_id,
            game_id,
            since_revision,
        });
        Self { from, to, commits, net: net.collect() }
    }
}
