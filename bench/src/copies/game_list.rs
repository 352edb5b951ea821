//! game-list's copy: catching up from the tail, and rebuilding from a snapshot, each row durably on its disk.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use gameshelf::proto::arbiter::v1 as arbiter;
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Any, Freshness, Source};
use gameshelf::proto::gamelist::v1 as wire;
use tokio::time::Instant;

use super::{Served, Setting};
use crate::load::Client;
use crate::report::{Figures, Goal, Used, Watched};
use crate::servers::GameList;

const LIST: &str = "/gameshelf.gamelist.v1.GameListService/ListGames";
const GET_HEAD: &str = "/gameshelf.arbiter.v1.ArbiterService/GetHead";
const POLL_PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(10);

pub(super) fn measure(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let served = setting.arbiter()?;
    let rows = setting.settings.rows;
    let tail = tempfile::tempdir().context("no directory for a copy")?;
    // A copy of nothing, which then has everything to catch up.
    follow(&served, tail.path(), 0)?;
    served.arbiter.fill_singly("copied-", rows)?;
    for (directory, what, at_least, unit) in [
        (Some(tail.path()), "catching up from the tail", 60_000.0, "commits/s"),
        (None, "rebuilding from a snapshot", 200_000.0, "rows/s"),
    ] {
        let new = tempfile::tempdir().context("no directory for a copy")?;
        let begin = Instant::now();
        let (seconds, used) = follow(&served, directory.unwrap_or(new.path()), rows)
            .map(|used| (begin.elapsed().as_secs_f64(), used))?;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let rate = rows as f64 / seconds;
        let work = format!("game-list's copy, {what}, {rows} of them, {}", setting.settings.store.name());
        figures.push(work, (rate, unit), Goal::AtLeast(at_least), "its start included", used);
    }
    Ok(())
}

/// Runs game-list until its copy shows the head, or at least this revision.
fn follow(served: &Served, directory: &Path, at_least: u64) -> anyhow::Result<Vec<Used>> {
    let head: arbiter::GetHeadResponse =
        Client::open(served.arbiter.address())?.call(GET_HEAD, &arbiter::GetHeadRequest {})?;
    let head = head.provenance.context("a head without its revision")?.revision.max(at_least);
    let game_list = GameList::start(served.arbiter.address(), directory)?;
    let mut processes = served.processes();
    processes.push(game_list.process());
    let watched = Watched::begin(processes)?;
    let begin = Instant::now();
    let request = wire::ListGamesRequest {
        customer_id: "nobody".to_owned(),
        freshness: Some(Freshness { requirement: Some(Requirement::Any(Any {})) }),
        ..wire::ListGamesRequest::default()
    };
    let client = Client::open(game_list.address())?;
    loop {
        let answer: Result<wire::ListGamesResponse, _> = client.call(LIST, &request);
        let provenance = answer.ok().and_then(|answer| answer.provenance);
        if provenance.is_some_and(|shown| shown.source() == Source::LocalCopy && shown.revision >= head) {
            return watched.end();
        }
        anyhow::ensure!(begin.elapsed() < PATIENCE, "the copy does not get to revision {head}");
        std::thread::sleep(POLL_PAUSE);
    }
}
