//! The rows of the comparison: which work, against whom, and how much faster it has to be.

use crate::rivals::Size;
use crate::servers::{Stack, Store};
use crate::work::{Job, Work};

/// Who does the same work in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// A shared database: `BEGIN`, a statement for each step, `COMMIT`.
    Shared(Size),
    /// A shared database, and everything folded into one statement.
    Folded,
    /// A shared database: one select by key.
    Select,
    /// A server that does nothing.
    Noop(Stack),
    /// A store that orders its writes itself.
    Etcd,
}

impl Rival {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared(Size::Best) => "shared PostgreSQL, BEGIN to COMMIT",
            Self::Shared(Size::PerCaller) => "shared PostgreSQL, BEGIN to COMMIT, a connection per caller",
            Self::Folded => "shared PostgreSQL, one statement",
            Self::Select => "shared PostgreSQL, prepared select",
            Self::Noop(Stack::Bare) => "no-op tonic server",
            Self::Noop(Stack::Inbound) => "no-op tonic server behind the same layers",
            Self::Etcd => "etcd, one node, durable",
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) job: Job,
    pub(crate) rival: Rival,
    /// The ratio of the rates that is the goal.
    pub(crate) at_least: f64,
    /// The goal of our 99th percentile, where there is one.
    pub(crate) p99_at_most_us: Option<u64>,
}

impl Plan {
    pub(crate) fn work(&self) -> String {
        let Job { work, in_flight, .. } = self.job;
        let threads = match work.arbiter_threads() {
            1 => String::new(),
            threads => format!(", {threads} threads"),
        };
        format!("{}, {in_flight} in flight, {}{threads}", work.name(), self.store.name())
    }

    /// Whether any of the texts stands in its name; without a text every row is wanted.
    pub(crate) fn is_wanted(&self, only: &[String]) -> bool {
        is_wanted(&format!("{} / {}", self.work(), self.rival.name()), only)
    }
}

/// Whether any of the texts stands in a name, in small or large letters.
pub(crate) fn is_wanted(name: &str, only: &[String]) -> bool {
    let name = name.to_lowercase();
    only.is_empty() || only.iter().any(|text| name.contains(&text.to_lowercase()))
}

/// All rows, in the order in which they are measured.
pub(crate) fn plans() -> Vec<Plan> {
    use Rival::{Etcd, Folded, Noop, Select, Shared};
    use Store::{Postgres, Sqlite};
    use Work::{Grant, GrantFromStock, StrongList};

    let plan = |work, in_flight, store, rival, at_least| Plan {
        store,
        job: Job::new(work, in_flight),
        rival,
        at_least,
        p99_at_most_us: (work == GrantFromStock).then_some(20_000),
    };
    vec![
        plan(Grant, 64, Postgres, Shared(Size::Best), 3.0),
        plan(Grant, 256, Postgres, Shared(Size::Best), 4.0),
        plan(Grant, 64, Postgres, Folded, 1.5),
        plan(Grant, 256, Postgres, Folded, 2.0),
        plan(Grant, 256, Postgres, Noop(Stack::Bare), 0.25),
        plan(Grant, 256, Sqlite, Noop(Stack::Bare), 0.2),
        plan(Grant, 64, Postgres, Etcd, 1.5),
        plan(StrongList, 64, Postgres, Etcd, 2.5),
        plan(GrantFromStock, 64, Postgres, Shared(Size::PerCaller), 20.0),
        plan(GrantFromStock, 64, Postgres, Shared(Size::Best), 5.0),
        plan(Grant, 1, Postgres, Shared(Size::Best), 1.0),
        plan(StrongList, 64, Postgres, Select, 1.2),
        plan(StrongList, 64, Postgres, Noop(Stack::Inbound), 0.8),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: HashSet<(String, &str)> =
            plans().iter().map(|plan| (plan.work(), plan.rival.name())).collect();
        assert_eq!(names.len(), plans().len());
    }

    #[test]
    fn a_filter_takes_the_rows_that_it_names() {
        let wanted = |text: &str| plans().iter().filter(|plan| plan.is_wanted(&[text.to_owned()])).count();
        assert_eq!(wanted("ETCD"), 2);
        assert_eq!(wanted("limited edition"), 2);
        assert_eq!(wanted("nothing of the kind"), 0);
        assert!(plans().iter().all(|plan| plan.is_wanted(&[])));
    }
}
