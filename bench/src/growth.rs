//! Grants while the tables grow: the ratio to a shared database of the same size must not fall.

use crate::compare::{Bench, Contender};
use crate::report::{Report, Row, explain};
use crate::rivals::{self, Arrangement, Shared, Size, Tuning};
use crate::servers::{Arbiter, Database, Store};
use crate::work::{Job, Requests, Work};

const IN_FLIGHT: usize = 64;
/// Games of each customer in the tables.
const GAMES: u64 = 100;
/// How far below the ratio of the first size another may be by the noise of a machine alone.
const NOISE: f64 = 0.9;

/// Measures at each of the sizes, in this order; each must be above the one before.
pub(crate) fn growth(bench: &Bench, sizes: &[u64]) -> Report {
    let mut report = Report::new(&bench.settings);
    bench.progress.begin(sizes.len());
    let mut tables = Tables::new(bench);
    for size in sizes {
        let work = format!(
            "{}, {IN_FLIGHT} in flight, {}, {size} entitlements",
            Work::Grant.name(),
            Store::Postgres.name()
        );
        bench.progress.next(&work);
        // The ratio at the first size is the goal of the others.
        let first = report.rows.first().and_then(|row: &Row| row.ratio);
        let goal = first.map(|ratio| ratio * NOISE);
        let mut row = Row::new(work, "shared PostgreSQL of the same size, BEGIN to COMMIT", goal);
        let measured = match &mut tables {
            Ok(tables) => tables.measure(bench, *size, &mut row).map_err(|error| explain(&error)),
            Err(error) => Err(explain(error)),
        };
        row.problem = measured.err();
        report.rows.push(row);
    }
    bench.progress.end();
    report
}

/// The tables of both, which grow by the same customers.
struct Tables {
    ours: Database,
    rival: Database,
    tuning: Tuning,
    our_requests: Requests,
    rival_requests: Requests,
    customers: u64,
}

impl Tables {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let postgres = bench.postgres()?;
        let job = Job::new(Work::Grant, IN_FLIGHT);
        let slice = bench.settings.search_slice();
        let tuning = rivals::best(&postgres, job, Arrangement::Transaction, Size::Best, slice)?;
        let (ours, rival) = (postgres.create_database()?, postgres.create_database()?);
        rivals::prepare(&rival, job.work)?;
        let (our_requests, rival_requests) = (Requests::new(job), Requests::new(job));
        Ok(Self { ours, rival, tuning, our_requests, rival_requests, customers: 0 })
    }

    fn measure(&mut self, bench: &Bench, size: u64, row: &mut Row) -> anyhow::Result<()> {
        let customers = self.customers..(size / GAMES).max(1);
        anyhow::ensure!(!customers.is_empty(), "the sizes do not grow, or are below {GAMES}");
        self.customers = customers.end;
        let prefix = Work::Grant.customer_prefix();
        Arbiter::on_postgres(&self.ours, 1)?.fill(prefix, customers.clone(), GAMES)?;
        rivals::fill(&self.rival, prefix, &customers, GAMES)?;
        self.ours.settle()?;
        self.rival.settle()?;

        let job = Job { customers: self.customers, ..Job::new(Work::Grant, IN_FLIGHT) };
        // The first numbers are those of games that everybody has.
        self.our_requests = self.our_requests.of_job(job, GAMES);
        self.rival_requests = self.rival_requests.of_job(job, GAMES);
        // A new process, so that nothing of it is warm from the filling.
        let arbiter = Arbiter::on_postgres(&self.ours, 1)?;
        let requests = self.our_requests.another();
        let ours = Contender::of_arbiter(bench, requests, arbiter, self.ours.process(), Box::new(()));
        let requests = self.rival_requests.another();
        let shared = Shared::start(&self.rival, requests, Arrangement::Transaction, self.tuning)?;
        let rival = Contender::of_shared(shared, self.tuning, self.rival.process(), Box::new(()));
        let pair =
            bench.settings.turns().measure(&ours, &rival, None, |round| bench.progress.round(round))?;
        row.rival_choice = rival.choice;
        row.fill(&pair);
        Ok(())
    }
}
