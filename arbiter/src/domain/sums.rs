//! What everything that is owned adds up to, by partition of customers.

use gameshelf::digest::{Digest, Digests, PARTITIONS, partition};

use super::Revision;
use super::command::{CustomerId, Key};
use super::commit::{Change, Commit};
use super::entity::Entitlement;

/// The digests and the numbers of the rows that are present at a revision. They follow each commit without a look at other rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) revision: Revision,
    /// All that a copy holds of its rows.
    pub(crate) rows: Digests,
    /// What the rows are in any store.
    pub(crate) contents: Digests,
    /// How many rows there are.
    pub(crate) counts: Box<[u64; PARTITIONS]>,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            revision: 0,
            rows: Digests::default(),
            contents: Digests::default(),
            counts: Box::new([0; PARTITIONS]),
        }
    }
}

/// One row, as far as it counts.
struct Row {
    partition: u8,
    whole: Digest,
    content: Digest,
}

impl Row {
    fn new(partition: u8, (customer_id, game_id): &Key, since: Revision, ends_at_ms: Option<u64>) -> Self {
        let (customer_id, game_id) = (customer_id.as_str(), game_id.as_str());
        Self {
            partition,
            whole: Digest::of_row(customer_id, game_id, since),
            content: Digest::of_content(customer_id, game_id, ends_at_ms),
        }
    }
}

impl Sums {
    /// Goes on by the commit after its revision.
    pub(crate) fn follow(&mut self, commit: &Commit) {
        // Most commits are of one customer, whose partition need not be found out for each game.
        let mut last: Option<(&CustomerId, u8)> = None;
        let mut partition_of = |customer_id| match last {
            Some((known, partition)) if known == customer_id => partition,
            _ => last.insert((customer_id, partition(customer_id.as_str()))).1,
        };
        for change in &commit.changes {
            match change {
                Change::Granted { key, ends_at_ms, .. } => {
                    self.add(&Row::new(partition_of(&key.0), key, commit.revision, *ends_at_ms));
                }
                Change::Revoked { key, valid_from, ends_at_ms } => {
                    self.take(&Row::new(partition_of(&key.0), key, *valid_from, *ends_at_ms));
                }
                Change::Reserved { .. } | Change::Released { .. } | Change::StockSet { .. } => {}
            }
        }
        self.revision = commit.revision;
    }

    /// Adds a row that is present at its revision.
    pub(crate) fn add_present(&mut self, one: &Entitlement) {
        let partition = partition(one.customer_id.as_str());
        self.add(&Row::new(partition, &one.key(), one.valid_from, one.ends_at_ms));
    }

    fn add(&mut self, row: &Row) {
        self.rows[row.partition] = self.rows[row.partition].plus(row.whole);
        self.contents[row.partition] = self.contents[row.partition].plus(row.content);
        self.counts[usize::from(row.partition)] += 1;
    }

    fn take(&mut self, row: &Row) {
        self.rows[row.partition] = self.rows[row.partition].minus(row.whole);
        self.contents[row.partition] = self.contents[row.partition].minus(row.content);
        // One that is not there is taken in a store that was damaged alone; then the digests tell, too.
        let count = &mut self.counts[usize::from(row.partition)];
        *count = count.saturating_sub(1);
    }
}
