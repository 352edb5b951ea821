//! What the rows of a copy add up to, as far as it is known. Pure.
//!
//! A partition is known once its rows were read from where they last, or were written by a snapshot; from then on its
//! digest follows each change. Reading the rows again corrects it, which is how damage beneath the copy comes to light.

use gameshelf::digest::{Digest, Digests, PARTITIONS};

use crate::model::{NetChange, Row};

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    sums: Digests,
    known: Box<[bool; PARTITIONS]>,
    /// The partition that is read next.
    next: u8,
}

/// What rows add up to.
pub(crate) fn sum(rows: &[Row]) -> Digest {
    rows.iter().fold(Digest::default(), |sum, row| sum.plus(row.digest()))
}

impl Ledger {
    /// That of rows that nobody looked at yet.
    pub(crate) fn unknown() -> Self {
        Self { sums: Digests::default(), known: Box::new([false; PARTITIONS]), next: 0 }
    }

    /// That of no rows.
    pub(crate) fn empty() -> Self {
        Self { known: Box::new([true; PARTITIONS]), ..Self::unknown() }
    }

    /// Rows were added.
    pub(crate) fn add(&mut self, rows: &[Row]) {
        for row in rows {
            let sum = &mut self.sums[row.partition];
            *sum = sum.plus(row.digest());
        }
    }

    /// A batch was applied, in the place of rows as they were `before`.
    pub(crate) fn apply(&mut self, before: &[Row], net: &[NetChange<'_>]) {
        for row in before {
            let sum = &mut self.sums[row.partition];
            *sum = sum.minus(row.digest());
        }
        for change in net {
            let Some(since) = change.since_revision else { continue };
            let sum = &mut self.sums[change.partition];
            *sum = sum.plus(Digest::of_row(change.customer_id, change.game_id, since));
        }
    }

    /// The rows of a partition were read or written. Says whether they are not what was believed.
    pub(crate) fn learn(&mut self, partition: u8, sum: Digest) -> bool {
        let is_news = self.known[usize::from(partition)] && self.sums[partition] != sum;
        self.sums[partition] = sum;
        self.known[usize::from(partition)] = true;
        is_news
    }

    /// Whether all partitions are known.
    pub(crate) fn is_complete(&self) -> bool {
        self.known.iter().all(|known| *known)
    }

    /// The known partitions that differ.
    pub(crate) fn differing(&self, other: &Digests) -> Vec<u8> {
        let mut differing = self.sums.differing(other);
        differing.retain(|partition| self.known[usize::from(*partition)]);
        differing
    }

    /// The partition whose rows are to be read now: one that is not known, or the next in turn.
    pub(crate) fn turn(&mut self) -> u8 {
        let turns = (0..=u8::MAX).map(|step| self.next.wrapping_add(step));
        let unknown = turns.into_iter().find(|partition| !self.known[usize::from(*partition)]);
        let turn = unknown.unwrap_or(self.next);
        self.next = turn.wrapping_add(1);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Batch, Change, Commit};
    use gameshelf::tokens::Token;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn row(customer_id: &str, game_id: &str, since: u64) -> Row {
        Row::new(customer_id.to_owned(), game_id.to_owned(), since)
    }

    #[test]
    fn only_what_is_known_is_compared() {
        let mut ledger = Ledger::unknown();
        let row = row("ann", "aqua", 1);
        let mut digests = Digests::default();
        digests[row.partition] = row.digest();
        assert!(ledger.differing(&digests).is_empty());
        assert!(!ledger.learn(row.partition, Digest::default()), "nothing was believed before");
        assert_eq!(ledger.differing(&digests), [row.partition]);
        assert!(ledger.learn(row.partition, row.digest()));
        assert!(ledger.differing(&digests).is_empty());
    }

    #[test]
    fn every_partition_has_its_turn_and_unknown_ones_go_first() {
        let mut ledger = Ledger::unknown();
        for partition in 0..=u8::MAX {
            assert!(!ledger.is_complete());
            assert_eq!(ledger.turn(), partition);
            ledger.learn(partition, Digest::default());
        }
        assert!(ledger.is_complete());
        assert_eq!([ledger.turn(), ledger.turn()], [0, 1]);
    }

    proptest! {
        /// However commits are cut into batches, the digests are those of the rows that they leave.
        #[test]
        fn digests_follow_every_change(
            steps in prop::collection::vec((0_usize..4, 0_usize..3, any::<bool>()), 1..40),
            size in 1_usize..9,
        ) {
            let names = ["a", "b", "c", "d"];
            let commits: Vec<_> = (1..).zip(&steps).map(|(revision, (customer, game, granted))| {
                let row = row(names[*customer], names[*game], revision);
                let change = Change {
                    partition: row.partition, customer_id: row.customer_id, game_id: row.game_id, granted: *granted,
                };
                Commit { revision, changes: vec![change], traceparent: String::new() }
            }).collect();
            let (mut ledger, mut rows) = (Ledger::empty(), BTreeMap::new());
            let at = Token { store_id: Uuid::nil(), incarnation: 1, revision: 0 };
            for commits in commits.chunks(size) {
                let batch = Batch::new(at, at, commits);
                let before: Vec<Row> = batch.net.iter().filter_map(|change| {
                    let key = (change.customer_id.to_owned(), change.game_id.to_owned());
                    let since = match change.since_revision {
                        Some(since) => rows.insert(key.clone(), since),
                        None => rows.remove(&key),
                    };
                    since.map(|since| row(&key.0, &key.1, since))
                }).collect();
                ledger.apply(&before, &batch.net);
            }
            let mut digests = Ledger::empty();
            digests.add(&rows.iter().map(|((customer, game), since)| row(customer, game, *since)).collect::<Vec<_>>());
            prop_assert_eq!(ledger.sums, digests.sums);
        }
    }
}
