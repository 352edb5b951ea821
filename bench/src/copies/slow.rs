//! Writers while readers hang.

use gameshelf::proto::arbiter::v1::watch_request::Start;
use tokio::runtime;

use super::Setting;
use super::watcher::{Watcher, everything};
use crate::compare::median;
use crate::load::{Connection, Remote};
use crate::report::{Figures, Goal, Watched};
use crate::servers::{Process, protocol};
use crate::work::{Job, Requests, Work};

const READERS: usize = 10;
const IN_FLIGHT: usize = 64;

pub(super) fn measure(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let served = setting.arbiter()?;
    let settings = &setting.bench.settings;
    let requests = Requests::new(Job::new(Work::Grant, IN_FLIGHT));
    let remote = Remote::new(served.arbiter.address(), protocol(Work::Grant), requests, settings.shape());
    let mut processes = served.processes();
    processes.push(Process::this("load"));
    let watched = Watched::begin(processes)?;
    // Their runtime has a thread of its own, which answers pings and reads nothing.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let turns = settings.turns();
    for round in 0..turns.rounds {
        // Both sides after a turn that does not count, since the tables grow with each.
        remote.closed(turns.slice)?;
        alone.push(remote.closed(turns.slice)?.per_second());
        let head = served.arbiter.head_token()?;
        let readers = runtime.block_on(async {
            let mut readers = Vec::new();
            for _ in 0..READERS {
                let start = Start::AfterToken(head.clone());
                let mut connection = Connection::open(served.arbiter.address()).await?;
                readers.push(Watcher::open(&mut connection, &everything(start)).await?);
            }
            anyhow::Ok(readers)
        })?;
        // Until their connections are full: from then on they hang.
        remote.closed(turns.slice)?;
        beside.push(remote.closed(turns.slice)?.per_second());
        drop(readers);
        setting.bench.progress.round(round + 1);
    }
    let (alone, beside) = (median(&alone).unwrap_or_default(), median(&beside).unwrap_or_default());
    let note = format!("{beside:.0} grants/s beside them, {alone:.0} without");
    let work = format!("writers while {READERS} slow readers hang, {}", setting.settings.store.name());
    figures.push(work, (beside / alone, "of it"), Goal::AtLeast(0.95), note, watched.end()?);
    Ok(())
}
