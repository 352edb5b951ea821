//! Adds the answers of an import up.

use std::collections::HashSet;

use gameshelf::ids::CustomerId;
use gameshelf::proto::arbiter::v1::ImportDone;

use super::chunks::Chunk;
use crate::commands::import::rows::{Rejected, Row};

/// What all requests did together.
#[derive(Debug, Default)]
pub(in super::super) struct Sent {
    pub(in super::super) granted: u64,
    pub(in super::super) already_owned: u64,
    /// How many customers were granted something.
    pub(in super::super) customers: usize,
    /// The newest revision that an answer named.
    pub(in super::super) revision: u64,
    /// Rows that the arbiter refused.
    pub(in super::super) rejected: Vec<Rejected>,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: usize,
    sent: Sent,
    customers: HashSet<CustomerId>,
}

impl Tally {
    pub(super) fn done(&mut self, chunk: &Chunk, done: &ImportDone, rows: &[Row]) {
        self.requests += 1;
        self.sent.revision = self.sent.revision.max(done.revision);
        // What an earlier run granted is owned already; what this run sent twice is its own.
        if done.replayed && !chunk.sent_before {
            self.sent.already_owned += u64::try_from(chunk.rows.len()).unwrap_or(u64::MAX);
            return;
        }
        let owned: HashSet<usize> =
            done.already_owned.iter().filter_map(|row| usize::try_from(*row).ok()).collect();
        for (index, place) in chunk.rows.iter().enumerate() {
            if owned.contains(&index) {
                self.sent.already_owned += 1;
            } else {
                self.sent.granted += 1;
                if let Some(row) = rows.get(*place).filter(|row| !self.customers.contains(&row.customer_id)) {
                    self.customers.insert(row.customer_id.clone());
                }
            }
        }
    }

    pub(super) fn refused(&mut self) {
        self.requests += 1;
    }

    pub(super) fn rejected(&mut self, row: Rejected) {
        self.sent.rejected.push(row);
    }

    /// How many requests were answered.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// How many rows were answered.
    pub(super) fn rows(&self) -> usize {
        let owned = usize::try_from(self.sent.granted + self.sent.already_owned).unwrap_or(usize::MAX);
        owned.saturating_add(self.sent.rejected.len())
    }

    pub(super) fn sent(self) -> Sent {
        Sent { customers: self.customers.len(), ..self.sent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |(customer, game): (&str, &str)| Row {
            line: 1,
            customer_id: customer.parse().unwrap(),
            game_id: game.parse().unwrap(),
            end_time: None,
        };
        [("1", "a"), ("1", "b"), ("2", "a")].into_iter().map(row).collect()
    }

    fn chunk(rows: &[usize], sent_before: bool) -> Chunk {
        Chunk { rows: rows.to_vec(), sent_before, ..Chunk::default() }
    }

    fn done(revision: u64, replayed: bool, already_owned: &[u32]) -> ImportDone {
        ImportDone { revision, replayed, already_owned: already_owned.to_vec(), token: String::new() }
    }

    #[test]
    fn a_customer_counts_once_and_only_when_granted_something() {
        let mut tally = Tally::default();
        tally.done(&chunk(&[0, 1], false), &done(3, false, &[]), &rows());
        tally.done(&chunk(&[2], false), &done(2, false, &[0]), &rows());
        let sent = tally.sent();
        assert_eq!((sent.granted, sent.already_owned, sent.customers, sent.revision), (2, 1, 1, 3));
    }

    #[test]
    fn a_repeat_counts_as_granted_only_where_this_import_may_have_done_it() {
        let mut tally = Tally::default();
        tally.done(&chunk(&[0], false), &done(1, true, &[]), &rows());
        tally.done(&chunk(&[1], true), &done(2, true, &[]), &rows());
        assert_eq!((tally.sent.granted, tally.sent.already_owned), (1, 1));
    }
}
