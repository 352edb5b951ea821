//! What it costs to follow the arbiter: Watch, copies, imports.
//!
//! Each measurement has an arbiter of its own, as a child process, and says what it and the reader used.

mod catch_up;
mod delivery;
mod game_list;
mod idle;
mod import;
mod slow;
mod watcher;

use std::future::Future;

use anyhow::ensure;
use tokio::runtime;

use crate::compare::Bench;
use crate::report::{Figures, explain};
use crate::servers::{Arbiter, Database, Process, Store};

/// What can be measured, and how.
type Measurement = fn(&Setting<'_>, &mut Figures) -> anyhow::Result<()>;

const MEASUREMENTS: [(&str, Measurement); 7] = [
    ("catch-up", catch_up::measure),
    ("copy", game_list::measure),
    ("delivery", delivery::measure),
    ("saturation", delivery::saturate),
    ("import", import::measure),
    ("idle watchers", idle::measure),
    ("slow readers", slow::measure),
];

/// How it is measured.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CopiesSettings {
    /// Commits that a reader catches up, and rows that are imported
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(crate) rows: u64,

    /// Seconds for which commits are delivered
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) delivery_seconds: u64,

    /// Where the arbiter keeps its data
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    pub(crate) store: Store,

    /// Only measurements in whose name this text stands; may be given again
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
}

/// What a measurement needs.
pub(crate) struct Setting<'a> {
    bench: &'a Bench,
    settings: &'a CopiesSettings,
}

/// An arbiter, and what it stands on.
struct Served {
    arbiter: Arbiter,
    /// Dropped after the arbiter.
    database: Option<Database>,
}

impl Setting<'_> {
    /// An arbiter with an empty store.
    fn arbiter(&self) -> anyhow::Result<Served> {
        match self.settings.store {
            Store::Sqlite => Ok(Served { arbiter: Arbiter::on_sqlite(1)?, database: None }),
            Store::Postgres => {
                let database = self.bench.postgres()?.create_database()?;
                Ok(Served { arbiter: Arbiter::on_postgres(&database, 1)?, database: Some(database) })
            }
        }
    }
}

impl Served {
    /// The processes that serve.
    fn processes(&self) -> Vec<Process> {
        let database = self.database.as_ref().and_then(Database::process);
        [Some(self.arbiter.process()), database].into_iter().flatten().collect()
    }
}

/// Runs something that waits on the network.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Measures everything that is wanted. What cannot be measured says why.
pub(crate) fn copies(bench: &Bench, settings: &CopiesSettings) -> anyhow::Result<Figures> {
    let is_wanted = |name: &str| {
        settings.only.is_empty() || settings.only.iter().any(|only| name.contains(only.as_str()))
    };
    let wanted: Vec<_> = MEASUREMENTS.iter().filter(|(name, _)| is_wanted(name)).collect();
    ensure!(!wanted.is_empty(), "no measurement has any of these texts in its name");
    bench.progress.begin(wanted.len());
    let mut figures = Figures::default();
    let setting = Setting { bench, settings };
    for (name, measure) in wanted {
        bench.progress.next(name);
        if let Err(error) = measure(&setting, &mut figures) {
            figures.problem(name, &explain(&error));
        }
    }
    bench.progress.end();
    Ok(figures)
}
