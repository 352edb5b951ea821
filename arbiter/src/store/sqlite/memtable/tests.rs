use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{Cause, Effects, Reason, RequestId};

/// A memtable beside the log and the table that belong to it, and what is owned.
struct Rig {
    memtable: Memtable,
    log: Vec<Commit>,
    table: BTreeMap<Key, Arc<Entitlement>>,
    owned: BTreeMap<Key, Arc<Entitlement>>,
}

/// What is done to a game of a customer: it is granted if it is not owned, and taken if it is.
#[derive(Clone, Copy, Debug)]
struct Step {
    customer: usize,
    game: usize,
    ends: bool,
    from_stock: bool,
}

fn key(customer: usize, game: usize) -> Key {
    (format!("c{customer:06}").parse().unwrap(), format!("g{game}").parse().unwrap())
}

fn plain(customer: usize, game: usize) -> Step {
    Step { customer, game, ends: false, from_stock: false }
}

impl Rig {
    fn new(limit_rows: usize) -> Self {
        let memtable = Memtable::new(limit_rows, 0, 0);
        Self { memtable, log: Vec::new(), table: BTreeMap::new(), owned: BTreeMap::new() }
    }

    /// Does a step on top of what is owned.
    fn step(&mut self, revision: Revision, cause: &Arc<Cause>, step: Step) -> Change {
        let key = key(step.customer, step.game);
        let ends_at_ms = step.ends.then_some(9);
        if let Some(ended) = self.owned.remove(&key) {
            return Change::Revoked { key, valid_from: ended.valid_from, ends_at_ms: ended.ends_at_ms };
        }
        let entitlement = Entitlement {
            customer_id: key.0.clone(),
            game_id: key.1.clone(),
            valid_from: revision,
            granted_at_ms: 7,
            cause: Arc::clone(cause),
            ends_at_ms,
            from_stock: step.from_stock,
        };
        self.owned.insert(key.clone(), Arc::new(entitlement));
        Change::Granted { key, ends_at_ms, reservation_id: None }
    }

    /// Commits a batch of commits, one for each of some steps, as the store would.
    fn commit(&mut self, steps: &[Step]) {
        self.commit_each(steps.chunks(1));
    }

    /// Commits a batch, each commit with all of its steps.
    fn commit_each<'a>(&mut self, all: impl Iterator<Item = &'a [Step]>) {
        let mut before = BTreeMap::new();
        let cause = Cause { reason: Reason::Gift, actor: "a".to_owned(), order_id: String::new() };
        let cause = Arc::new(cause);
        let mut commits = Vec::new();
        for steps in all {
            let revision = self.log.len() as Revision + 1;
            for step in steps {
                let key = key(step.customer, step.game);
                before.entry(key.clone()).or_insert_with(|| self.owned.get(&key).cloned());
            }
            let changes = steps.iter().map(|step| self.step(revision, &cause, *step)).collect();
            let commit = Commit {
                revision,
                request_id: RequestId::new_v7(revision, [7; 10]),
                committed_at_ms: 7,
                cause: Arc::clone(&cause),
                changes,
                traceparent: String::new(),
            };
            self.log.push(commit.clone());
            commits.push(commit);
        }
        let mut effects = Effects::default();
        for (key, before) in before {
            match (before, self.owned.get(&key)) {
                (None, Some(now)) => effects.inserted.push(Arc::clone(now)),
                (Some(before), Some(now)) if before != *now => effects.replaced.push(Arc::clone(now)),
                (Some(_), None) => effects.removed.push(key),
                _ => {}
            }
        }
        let batch = Batch { effects, commits, ..Batch::default() };
        let plan = self.memtable.plan(&batch).expect("nothing is granted twice");
        let written = plan.written.iter().chain(&batch.effects.replaced).chain(&plan.flush.rows);
        self.table.extend(written.map(|one| (one.key(), Arc::clone(one))));
        for key in &batch.effects.removed {
            self.table.remove(key);
        }
        self.memtable.committed(plan, &batch);
    }

    /// Carries over without a batch.
    fn flush(&mut self, limit: usize) {
        let flush = self.memtable.flush(limit);
        self.table.extend(flush.rows.iter().map(|one| (one.key(), Arc::clone(one))));
        self.memtable.flushed(flush);
    }

    /// What a process that starts now would find.
    fn recovered(&self) -> Memtable {
        let flushed_to = self.memtable.flushed_to();
        let mut recovered = Memtable::new(self.memtable.limit_rows, self.log.len() as Revision, flushed_to);
        for commit in self.log.iter().filter(|commit| commit.revision > flushed_to) {
            recovered.redo(commit);
        }
        for key in recovered.keys() {
            if self.table.contains_key(&key) {
                recovered.forget(&key);
            }
        }
        recovered
    }

    fn check(&self) {
        let waiting = self.memtable.rows.values().map(|one| (one.key(), Arc::clone(one)));
        let waiting: BTreeMap<_, _> = waiting.collect();
        assert!(waiting.keys().all(|key| !self.table.contains_key(key)), "nothing is in both");
        let mut both = self.table.clone();
        both.extend(waiting);
        assert_eq!(both, self.owned, "together they are what is owned");
        assert_eq!(self.recovered().rows, self.memtable.rows, "the log has what waits");
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = (0..9_usize, 0..3_usize, 0..4, 0..4).prop_map(|(customer, game, ends, from_stock)| Step {
        customer,
        game,
        ends: ends == 0,
        from_stock: from_stock == 0,
    });
    proptest::collection::vec(proptest::collection::vec(step, 1..6), 1..60)
}

proptest! {
    #[test]
    fn a_process_that_starts_finds_what_waits_in_the_log(
        limit_rows in 0..12_usize,
        batches in steps(),
        flushes in proptest::collection::vec(0..5_usize, 60),
    ) {
        let mut rig = Rig::new(limit_rows);
        for (steps, flush) in batches.iter().zip(flushes) {
            rig.commit(steps);
            rig.check();
            rig.flush(flush);
            rig.check();
        }
        // Another process goes on where this one was.
        rig.memtable = rig.recovered();
        for steps in &batches {
            rig.commit(steps);
            rig.check();
        }
    }
}

#[test]
fn what_waits_and_what_is_to_be_redone_stay_within_their_bounds() {
    let mut rig = Rig::new(500);
    let mut most = (0, 0);
    let mut batch = |steps: &[Step], together: usize| {
        rig.commit_each(steps.chunks(together));
        let to_redo = rig.memtable.head.changes - rig.memtable.flushed_to.changes;
        most = (most.0.max(rig.memtable.len()), most.1.max(to_redo));
        assert!(rig.memtable.len() <= 600, "{} rows wait", rig.memtable.len());
        assert!(to_redo <= 2_000, "{to_redo} changes are to be redone");
    };
    // Grants all over the table.
    for number in 0..100 {
        let steps: Vec<_> = (0..100).map(|one| plain((number * 100 + one) * 7_919 % 10_007, 0)).collect();
        batch(&steps, 1);
    }
    // While these wait, customers get many games each, as by an import; they do not wait.
    for number in 0..100 {
        let steps: Vec<_> = (0..100).map(|one| plain(20_000 + number, one)).collect();
        batch(&steps, 100);
    }
    // And one customer's game comes and goes for long.
    for _ in 0..100 {
        batch(&[plain(1, 9); 100], 1);
    }
    assert!(most.0 >= 400 && most.1 >= 400, "as much waits as may: {most:?}");
    rig.check();
}

#[test]
fn what_few_customers_get_does_not_wait() {
    let mut rig = Rig::new(500);
    rig.commit(&[plain(1, 1), plain(1, 2), plain(1, 3), plain(1, 4)]);
    assert_eq!((rig.memtable.len(), rig.table.len()), (0, 4));
    rig.commit(&[plain(1, 5), plain(2, 1)]);
    assert_eq!((rig.memtable.len(), rig.table.len()), (2, 4));
}

#[test]
fn what_waits_is_not_new() {
    let mut rig = Rig::new(500);
    rig.commit(&[plain(1, 1)]);
    let inserted = rig.owned.values().cloned().collect();
    let batch = Batch { effects: Effects { inserted, ..Effects::default() }, ..Batch::default() };
    assert!(rig.memtable.plan(&batch).is_none());
}

#[test]
fn pages_show_a_revision_in_order() {
    let mut rig = Rig::new(500);
    rig.commit(&[plain(2, 1), plain(1, 2), plain(1, 1), plain(3, 1), plain(1, 3)]);
    let shown = |page: &[Entitlement]| page.iter().map(|one| one.valid_from).collect::<Vec<_>>();
    let memtable = &rig.memtable;
    assert_eq!(shown(&memtable.page(9, None, 9)), [3, 2, 5, 1, 4]);
    assert_eq!(shown(&memtable.page(4, None, 3)), [3, 2, 1], "as of a revision");
    assert_eq!(shown(&memtable.page(9, Some(&key(1, 2)), 2)), [5, 1]);
    let (customer, game) = key(1, 1);
    assert_eq!(shown(&memtable.list(9, &customer, None, 9)), [3, 2, 5]);
    assert_eq!(shown(&memtable.list(9, &customer, Some(&game), 1)), [2]);
    assert_eq!(shown(&memtable.of(9, &(customer.clone(), Some(game.clone())))), [3]);
    assert_eq!(memtable.get(2, &(customer, game)), None, "it began later");
}
