//! From a commit to those who watch for it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::watcher::{Seen, Watcher, everything, of_customer};
use super::{Served, Setting, block_on};
use crate::load::{Connection, Method, framed};
use crate::report::{Figures, Goal, Used, Watched};
use crate::servers::{GRANT, Process, grant};
use crate::work::{customer_name, game_name};

const CUSTOMERS: u64 = 1_000;
const COMMITS_PER_S: u64 = 1_000;
const CONNECTIONS: u64 = 10;
const PREFIX: &str = "watched-";
/// How long the last deliveries may take.
const GRACE: Duration = Duration::from_secs(10);
/// Watchers of everything, more and more of them.
const UNFILTERED: [u64; 7] = [10, 25, 50, 100, 200, 400, 800];
/// What takes longer than that is not delivered in time.
const SATURATED_US: u64 = 100_000;

/// When a revision was seen.
type Sighting = (u64, Instant);

struct Delivered {
    /// From when the request was sent, and from when it was acknowledged.
    from_sent_us: Histogram<u64>,
    from_acknowledged_us: Histogram<u64>,
    processes: Vec<Used>,
}

pub(super) fn measure(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let served = setting.arbiter()?;
    let seconds = setting.settings.delivery_seconds;
    let delivered = block_on(deliver(&served, CUSTOMERS, 10, seconds))?;
    let work = format!(
        "commit to delivery, {CUSTOMERS} watchers of a customer each and 10 of everything, {COMMITS_PER_S} commits/s, {}",
        setting.settings.store.name()
    );
    let p99_ms = ms(delivered.from_acknowledged_us.value_at_quantile(0.99));
    let note = format!(
        "p50 {:.2} ms, p99.9 {:.2} ms; from when the request was sent: p50 {:.2} ms, p99 {:.2} ms",
        ms(delivered.from_acknowledged_us.value_at_quantile(0.5)),
        ms(delivered.from_acknowledged_us.value_at_quantile(0.999)),
        ms(delivered.from_sent_us.value_at_quantile(0.5)),
        ms(delivered.from_sent_us.value_at_quantile(0.99)),
    );
    figures.push(work, (p99_ms, "ms p99"), Goal::Below(10.0), note, delivered.processes);
    Ok(())
}

/// Finds out how many watchers of everything are too many.
pub(super) fn saturate(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let mut kept_up = (0, 0, Vec::new());
    let mut note = "more were not tried".to_owned();
    for watchers in UNFILTERED {
        let served = setting.arbiter()?;
        let seconds = setting.settings.delivery_seconds.min(5);
        match block_on(deliver(&served, 0, watchers, seconds)) {
            Ok(delivered) => {
                let p99_us = delivered.from_acknowledged_us.value_at_quantile(0.99);
                if p99_us >= SATURATED_US {
                    note = format!("with {watchers} the p99 is {:.0} ms", ms(p99_us));
                    break;
                }
                kept_up = (watchers, p99_us, delivered.processes);
            }
            Err(error) => {
                note = format!("with {watchers}: {error}");
                break;
            }
        }
    }
    let (watchers, p99_us, processes) = kept_up;
    let work = format!(
        "watchers of everything that keep up at {COMMITS_PER_S} commits/s, {}",
        setting.settings.store.name()
    );
    let note = format!("their p99 is {:.1} ms; {note}", ms(p99_us));
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    figures.push(work, (watchers as f64, "watchers"), Goal::Reported, note, processes);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a time needs no more than 52 bits")]
fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// Commits at a steady rate while some watch one customer each and some everything.
async fn deliver(served: &Served, filtered: u64, unfiltered: u64, seconds: u64) -> anyhow::Result<Delivered> {
    let address = served.arbiter.address();
    let commits = seconds * COMMITS_PER_S;
    let due = commits * unfiltered + if filtered > 0 { commits } else { 0 };
    // Room for all of them: to wait for it would delay what is measured.
    let (sightings, mut seen) = mpsc::channel(usize::try_from(due)?);
    let mut watchers = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await?);
    }
    for number in 0..filtered {
        let connection = &mut connections[usize::try_from(number % CONNECTIONS)?];
        let mut watcher = Watcher::open(connection, &of_customer(customer_name(PREFIX, number))).await?;
        until_tail(&mut watcher).await?;
        watchers.spawn(watch(watcher, sightings.clone()));
    }
    for _ in 0..unfiltered {
        let start = Start::Snapshot(wire::SnapshotStart::default());
        let mut watcher = Watcher::open(&mut Connection::open(address).await?, &everything(start)).await?;
        until_tail(&mut watcher).await?;
        watchers.spawn(watch(watcher, sightings.clone()));
    }
    let mut processes = served.processes();
    processes.push(Process::this("watchers and load"));
    let watched = Watched::begin(processes)?;
    let asked = commit_steadily(Connection::open(address).await?, commits).await?;
    let processes = watched.end()?;
    let mut delivered =
        Delivered { from_sent_us: histogram()?, from_acknowledged_us: histogram()?, processes };
    for count in 0..due {
        let (revision, at): Sighting = timeout(GRACE, seen.recv())
            .await
            .with_context(|| format!("{} of {due} deliveries are missing", due - count))?
            .context("a watcher ended")?;
        let (sent, acknowledged) = asked.get(&revision).context("nobody asked for this revision")?;
        let us = |since: &Instant| u64::try_from(at.saturating_duration_since(*since).as_micros());
        delivered.from_sent_us.saturating_record(us(sent)?);
        delivered.from_acknowledged_us.saturating_record(us(acknowledged)?);
    }
    Ok(delivered)
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Passes over the snapshot.
async fn until_tail(watcher: &mut Watcher) -> anyhow::Result<()> {
    loop {
        match watcher.next().await?.context("the stream ended")? {
            Seen::SnapshotEnd(_) => return Ok(()),
            Seen::Rows(_) | Seen::Commits(..) | Seen::Bookmark(_) => {}
        }
    }
}

/// Tells when each commit was seen. A watcher of one customer has one commit in a message, or a few with their last one told: then
/// those before it count as seen at the same time.
async fn watch(mut watcher: Watcher, sightings: mpsc::Sender<Sighting>) -> anyhow::Result<()> {
    while let Some(seen) = watcher.next().await? {
        let at = Instant::now();
        if let Seen::Commits(count, last) = seen {
            // Of everything the revisions have no gaps; of one customer each comes alone at this rate.
            for revision in last + 1 - count..=last {
                if sightings.try_send((revision, at)).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Sends grants at a steady rate, and says for each revision when it was asked for and acknowledged.
async fn commit_steadily(
    connection: Connection,
    commits: u64,
) -> anyhow::Result<HashMap<u64, (Instant, Instant)>> {
    use prost::Message;
    let method = Method::new(connection.address(), GRANT)?;
    let mut tick = interval(Duration::from_micros(1_000_000 / COMMITS_PER_S));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tasks = JoinSet::new();
    for number in 0..commits {
        tick.tick().await;
        let customer = customer_name(PREFIX, number % CUSTOMERS);
        let request = grant(Uuid::now_v7().to_string(), customer, vec![game_name(number)]);
        let (mut connection, method) = (connection.clone(), method.clone());
        tasks.spawn(async move {
            let sent = Instant::now();
            let answer = connection.call(&method, framed(&request).into()).await?;
            let acknowledged = Instant::now();
            anyhow::Ok((wire::GrantResponse::decode(answer)?.revision, (sent, acknowledged)))
        });
    }
    let mut asked = HashMap::new();
    while let Some(task) = tasks.join_next().await {
        let (revision, times) = task??;
        asked.insert(revision, times);
    }
    Ok(asked)
}
