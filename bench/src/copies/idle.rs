//! What a watcher costs that has nothing to read.

use std::time::Duration;

use tokio::task::JoinSet;

use super::watcher::{Watcher, of_customer};
use super::{Setting, block_on};
use crate::load::Connection;
use crate::report::{Figures, Goal, Watched};
use crate::work::customer_name;

const WATCHERS: u64 = 1_000;
/// Long enough for a bookmark or two on each stream.
const SETTLE: Duration = Duration::from_secs(4);

pub(super) fn measure(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    for (connections, goal, how) in [
        (10, Goal::Below(20.0), "on 10 connections"),
        (WATCHERS, Goal::Reported, "each on a connection of its own"),
    ] {
        let served = setting.arbiter()?;
        let (growth, processes) = block_on(async {
            let before = served.arbiter.process().usage()?.resident_bytes;
            let watched = Watched::begin(vec![served.arbiter.process()])?;
            let mut tasks = JoinSet::new();
            let mut open = Vec::new();
            for _ in 0..connections {
                open.push(Connection::open(served.arbiter.address()).await?);
            }
            for number in 0..WATCHERS {
                let connection = &mut open[usize::try_from(number % connections)?];
                let mut watcher =
                    Watcher::open(connection, &of_customer(customer_name("idle-", number))).await?;
                tasks.spawn(async move {
                    while watcher.next().await?.is_some() {}
                    anyhow::Ok(())
                });
            }
            tokio::time::sleep(SETTLE).await;
            let used = watched.end()?;
            anyhow::ensure!(tasks.try_join_next().is_none(), "a watcher was cut off");
            Ok((served.arbiter.process().usage()?.resident_bytes.saturating_sub(before), used))
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a size needs no more than 52 bits")]
        let kib = growth as f64 / 1024.0 / WATCHERS as f64;
        let work = format!("{WATCHERS} idle watchers {how}: the arbiter grows by, each");
        figures.push(work, (kib, "KiB"), goal, "", processes);
    }
    Ok(())
}
