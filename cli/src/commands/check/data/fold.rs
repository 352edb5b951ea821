//! What a snapshot and the commits after it add up to.

use std::collections::HashMap;

use gameshelf::digest::{Digest, Digests, PARTITIONS, partition};
use gameshelf::proto::arbiter::v1::change::Kind;
use gameshelf::proto::arbiter::v1::{Commit, Entitlement};

use super::Difference;

/// The rows of some partitions.
pub(super) struct Fold {
    group: Vec<u8>,
    /// Since which revision a customer owns a game.
    rows: HashMap<(String, String), u64>,
    contradictions: Box<[u64; PARTITIONS]>,
    revision: u64,
    commits: u64,
}

impl Fold {
    pub(super) fn new(group: &[u8]) -> Self {
        let contradictions = Box::new([0; PARTITIONS]);
        Self { group: group.to_vec(), rows: HashMap::new(), contradictions, revision: 0, commits: 0 }
    }

    /// How far it is complete.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    pub(super) fn rows(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }

    /// Nothing up to a revision is still to come.
    pub(super) fn reached(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Rows of a snapshot.
    pub(super) fn present(&mut self, entitlements: &[Entitlement]) {
        for one in entitlements {
            self.grant(&one.customer_id, &one.game_id, one.since_revision);
        }
    }

    pub(super) fn commit(&mut self, commit: &Commit) {
        for change in &commit.changes {
            match change.kind() {
                Kind::Granted => self.grant(&change.customer_id, &change.game_id, commit.revision),
                Kind::Revoked => self.revoke(&change.customer_id, &change.game_id),
                Kind::Unspecified | Kind::Reserved | Kind::Released | Kind::StockSet => {}
            }
        }
        self.commits += 1;
        self.reached(commit.revision);
    }

    fn grant(&mut self, customer_id: &str, game_id: &str, since: u64) {
        let partition = partition(customer_id);
        if self.group.contains(&partition)
            && self.rows.insert((customer_id.to_owned(), game_id.to_owned()), since).is_some()
        {
            self.contradictions[usize::from(partition)] += 1;
        }
    }

    fn revoke(&mut self, customer_id: &str, game_id: &str) {
        let partition = partition(customer_id);
        if self.group.contains(&partition)
            && self.rows.remove(&(customer_id.to_owned(), game_id.to_owned())).is_none()
        {
            self.contradictions[usize::from(partition)] += 1;
        }
    }

    /// The partitions that are not what the digests say.
    pub(super) fn differences(&self, digests: &Digests, counts: &[u64]) -> Vec<Difference> {
        let mut folded = Digests::default();
        let mut rows = [0_u64; PARTITIONS];
        for ((customer_id, game_id), since) in &self.rows {
            let partition = partition(customer_id);
            folded[partition] = folded[partition].plus(Digest::of_row(customer_id, game_id, *since));
            rows[usize::from(partition)] += 1;
        }
        let differing = self.group.iter().filter_map(|partition| {
            let place = usize::from(*partition);
            let expected_rows = counts.get(place).copied().unwrap_or_default();
            let contradictions = self.contradictions[place];
            let is_equal = folded[*partition] == digests[*partition]
                && rows[place] == expected_rows
                && contradictions == 0;
            (!is_equal).then_some(Difference {
                partition: *partition,
                rows: rows[place],
                expected_rows,
                contradictions,
            })
        });
        differing.collect()
    }
}
