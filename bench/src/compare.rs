//! The comparison: every row, ours and its rival in turns.

mod contender;
mod open;
mod pair;
mod plan;

use std::cell::OnceCell;
use std::rc::Rc;

use anyhow::ensure;

pub(crate) use contender::Contender;
pub(crate) use open::OpenLoop;
pub(crate) use pair::{Pair, Side, Turns, median};

use plan::{Plan, Rival};

use crate::progress::Progress;
use crate::report::{Report, Row, explain};
use crate::rivals::{Arrangement, Pgbench, Size};
use crate::servers::Postgres;
use crate::settings::Settings;
use crate::work::Job;

/// What every row needs. PostgreSQL is started when the first row wants it; all other servers are each row's own.
pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) progress: Progress,
    postgres: OnceCell<Rc<Postgres>>,
    /// Settings of that server, where this run starts it.
    postgres_options: Option<String>,
}

impl Bench {
    pub(crate) fn new(settings: Settings, progress: Progress) -> Self {
        Self { settings, progress, postgres: OnceCell::new(), postgres_options: None }
    }

    /// The PostgreSQL of this run, where it starts one, has these settings.
    pub(crate) fn with_postgres_options(self, options: String) -> Self {
        Self { postgres_options: Some(options), ..self }
    }

    pub(crate) fn postgres(&self) -> anyhow::Result<Rc<Postgres>> {
        if let Some(postgres) = self.postgres.get() {
            return Ok(Rc::clone(postgres));
        }
        let postgres =
            Postgres::open(self.settings.postgres_url.as_deref(), self.postgres_options.as_deref())?;
        Ok(Rc::clone(self.postgres.get_or_init(|| postgres)))
    }
}

/// Measures every row that is wanted. A row that cannot be measured says why, and the others are measured all the same.
pub(crate) fn compare(bench: &Bench, only: &[String], open: OpenLoop) -> anyhow::Result<Report> {
    let plans: Vec<Plan> = plan::plans().into_iter().filter(|plan| plan.is_wanted(only)).collect();
    let opened = open::wanted(only);
    ensure!(!plans.is_empty() || !opened.is_empty(), "no row has any of these texts in its work or rival");
    bench.progress.begin(plans.len() + opened.len());
    let mut report = Report::new(&bench.settings);
    for plan in plans {
        bench.progress.next(&format!("{}: {}", plan.work(), plan.rival.name()));
        let mut row = Row::new(plan.work(), plan.rival.name(), Some(plan.at_least));
        row.p99_at_most_us = plan.p99_at_most_us;
        if let Err(error) = measure(bench, &plan, &mut row) {
            row.problem = Some(explain(&error));
        }
        report.rows.push(row);
    }
    for store in opened {
        bench.progress.next(&open::name(store));
        report.open_loop.push(open::measure(bench, store, open));
    }
    bench.progress.end();
    Ok(report)
}

fn measure(bench: &Bench, plan: &Plan, row: &mut Row) -> anyhow::Result<()> {
    // Ours first: what it cannot do is known before the rival is searched for at its best.
    let ours = Contender::arbiter(bench, plan.store, plan.job)?;
    let rival = rival(bench, plan)?;
    let arrangement = match plan.rival {
        Rival::Shared(_) | Rival::Select => Some(Arrangement::Transaction),
        Rival::Folded => Some(Arrangement::Folded),
        Rival::Noop(_) | Rival::Etcd => None,
    };
    let mut pgbench = match arrangement {
        Some(arrangement) => pgbench(bench, plan.job, plan.rival, arrangement, row)?,
        None => None,
    };
    let pgbench = pgbench.as_mut().map(|(pgbench, connections)| (pgbench, *connections));
    let pair = bench.settings.turns().measure(&ours, &rival, pgbench, |round| bench.progress.round(round))?;
    row.rival_choice = rival.choice;
    row.fill(&pair);
    Ok(())
}

fn rival(bench: &Bench, plan: &Plan) -> anyhow::Result<Contender> {
    let job = plan.job;
    match plan.rival {
        Rival::Shared(size) => Contender::shared(bench, job, Arrangement::Transaction, size),
        Rival::Folded => Contender::shared(bench, job, Arrangement::Folded, Size::Best),
        Rival::Select => Contender::shared(bench, job, Arrangement::Transaction, Size::Best),
        Rival::Noop(stack) => Contender::noop(bench, job, stack),
        Rival::Etcd => Contender::etcd(bench, job),
    }
}

/// pgbench with the number of connections that is best for it. It is beside the point of the row: when it is missing, the
/// row says so and is measured without it.
fn pgbench(
    bench: &Bench,
    job: Job,
    rival: Rival,
    arrangement: Arrangement,
    row: &mut Row,
) -> anyhow::Result<Option<(Pgbench, u32)>> {
    let mut pgbench = match Pgbench::prepare(&bench.postgres()?, job, arrangement) {
        Ok(pgbench) => pgbench,
        Err(error) => {
            row.note = Some(format!("without pgbench: {error:#}"));
            return Ok(None);
        }
    };
    let connections = match rival {
        Rival::Shared(Size::PerCaller) => u32::try_from(job.in_flight)?,
        _ => pgbench.best_size(bench.settings.search_slice().measured)?,
    };
    row.pgbench_connections = Some(connections);
    Ok(Some((pgbench, connections)))
}
