//! Readers that catch up: from the oldest commit to the newest.

use anyhow::ensure;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::watcher::{Seen, Watcher, everything};
use super::{Setting, block_on};
use crate::load::Connection;
use crate::report::{Figures, Goal, Watched};
use crate::servers::Process;

pub(super) fn measure(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let served = setting.arbiter()?;
    let commits = setting.settings.rows;
    // One grant a commit, in customers of a hundred games.
    served.arbiter.fill_singly("followed-", commits)?;
    for (readers, at_least) in [(1_u32, 300_000.0), (10, 500_000.0)] {
        let mut processes = served.processes();
        processes.push(Process::this("readers"));
        let watched = Watched::begin(processes)?;
        let begin = Instant::now();
        block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..readers {
                let mut connection = Connection::open(served.arbiter.address()).await?;
                tasks.spawn(async move { read(&mut connection, commits).await });
            }
            while let Some(task) = tasks.join_next().await {
                task??;
            }
            Ok(())
        })?;
        let seconds = begin.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let rate = (commits * u64::from(readers)) as f64 / seconds;
        let work =
            format!("catch-up of {commits} commits by {readers} at once, {}", setting.settings.store.name());
        figures.push(work, (rate, "commits/s"), Goal::AtLeast(at_least), "", watched.end()?);
    }
    Ok(())
}

/// Reads every commit, in order and once.
async fn read(connection: &mut Connection, commits: u64) -> anyhow::Result<()> {
    let start = Start::Earliest(wire::EarliestStart {});
    let mut watcher = Watcher::open(connection, &everything(start)).await?;
    let mut seen = 0;
    while seen < commits {
        match watcher.next().await? {
            Some(Seen::Commits(count, last)) => {
                seen += count;
                ensure!(last == seen, "the commits after {} are {count}, up to {last}", seen - count);
            }
            Some(_) => {}
            None => anyhow::bail!("the stream ended after {seen} commits"),
        }
    }
    Ok(())
}
