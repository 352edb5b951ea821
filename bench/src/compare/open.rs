//! One open-loop row for each store: how long a request takes when the arbiter is busy, but not as busy as it can be.

use std::time::Duration;

use super::Bench;
use super::contender::Contender;
use super::plan::is_wanted;
use crate::load::Schedule;
use crate::report::{OpenRow, explain};
use crate::servers::Store;
use crate::work::{Job, Work};

/// Requests in flight of the closed loop before, and at most in the open one.
const IN_FLIGHT: usize = 64;
const IN_FLIGHT_AT_MOST: usize = 1_000;

/// How many requests a second are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenLoop {
    /// A share of what a closed loop gets just before.
    Share(f64),
    /// So many.
    PerSecond(f64),
}

pub(super) fn name(store: Store) -> String {
    format!("open loop: {}, {}", Work::Grant.name(), store.name())
}

/// The stores whose row is wanted.
pub(super) fn wanted(only: &[String]) -> Vec<Store> {
    [Store::Postgres, Store::Sqlite].into_iter().filter(|store| is_wanted(&name(*store), only)).collect()
}

pub(super) fn measure(bench: &Bench, store: Store, rate: OpenLoop) -> OpenRow {
    let mut row = OpenRow { work: name(store), ..OpenRow::default() };
    if let Err(error) = fill(bench, store, rate, &mut row) {
        row.problem = Some(explain(&error));
    }
    row
}

fn fill(bench: &Bench, store: Store, rate: OpenLoop, row: &mut OpenRow) -> anyhow::Result<()> {
    let ours = Contender::arbiter(bench, store, Job::new(Work::Grant, IN_FLIGHT))?;
    let per_second = match rate {
        OpenLoop::PerSecond(per_second) => per_second,
        OpenLoop::Share(share) => share * ours.closed(bench.settings.search_slice())?.per_second(),
    };
    let warmup = bench.settings.search_slice().warmup;
    let measured = Duration::from_secs(bench.settings.seconds);
    row.asked_per_s = Some(per_second);
    let schedule = Schedule { per_second, warmup, measured, in_flight_at_most: IN_FLIGHT_AT_MOST };
    if let Some(remote) = ours.remote() {
        row.fill(&remote.open(schedule)?);
    }
    Ok(())
}
