//! `gameshelf example game-list`: two versions of game-list, one of which fails on purpose, over one arbiter.

mod reader;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use clap::Args;
use mesh::environment::Environment;
use serde_json::json;
use tokio::process::Command;

use super::children::{self, Children, Endpoints, Place, free_addresses};
use super::log::Log;
use super::seen::{self, WAIT, not_shown, wait_for};
use super::{Trial, load};
use crate::exit::{Failure, Kind};
use crate::output::Output;
use crate::up::SAMPLE_CATALOG;
use crate::up::child::Spec;
use reader::{Changes, Reader};

const SAMPLE_OWNERSHIP: &[u8] = include_bytes!("../../../samples/ownership.csv");
/// The arbiter's.
const DATABASE: &str = "arbiter.sqlite";
/// Of so many queries one more is made after the next major version has joined.
const AFTER_JOIN: u64 = 10;

/// Two versions of game-list, of which the newer one fails on purpose: no query does
///
/// Starts an arbiter with the project's sample data, and game-list as 1.0.0 and 1.0.1, each a process of its own; 1.0.1 refuses a
/// share of its queries before it does anything. All queries are made for ^1.0, while a customer is given games, which come as
/// events on a stream of the same service; then 2.0.0 joins, and gets nothing. Each fallback and each event is told.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    trial: Trial,
}

/// Runs the example.
///
/// # Errors
///
/// When a process could not be started, or something was seen that must not be.
pub(crate) async fn run(options: Options, environment: &Environment, output: Output) -> Result<(), Failure> {
    let place = Place::take(options.trial.data_dir.as_deref(), DATABASE).await?;
    let mut children = Children::default();
    let shown = Box::pin(show(&options, &place, &mut children, environment, output));
    let done = children::until_told(shown).await;
    children.stop().await;
    children::leave(place, done)
}

async fn show(
    options: &Options,
    place: &Place,
    children: &mut Children,
    environment: &Environment,
    output: Output,
) -> Result<(), Failure> {
    let queries = u64::from(options.trial.queries);
    let further = (queries / AFTER_JOIN).max(1);
    let log = Log::new(output, queries + further);
    let [arbiter, older, newer, next] = free_addresses()?;
    let catalog = place.write("catalog.csv", SAMPLE_CATALOG)?;
    let game_list = |version: &'static str, address: SocketAddr, fault_percent: u32| {
        game_list(place, version, address, &arbiter, &catalog, fault_percent)
    };
    children.start(vec![self::arbiter(place, arbiter)?], environment).await?;
    import(place, &arbiter, &catalog).await?;
    let versions =
        vec![game_list("1.0.0", older, 0)?, game_list("1.0.1", newer, options.trial.fault_percent)?];
    children.start(versions, environment).await?;
    log.say(&format!("the arbiter at {arbiter}, game-list 1.0.0 at {older} and 1.0.1 at {newer} serve"));

    let endpoints = Endpoints::write(place, "game-list.endpoints", &[older, newer])?;
    let mut reader =
        Reader::open(&options.trial.dispatch(), &endpoints, arbiter, queries, environment).await?;
    wait_for(reader.game_list(), &["1.0.0", "1.0.1"]).await?;
    reader.look_up(SAMPLE_OWNERSHIP).await?;
    let mut changes = Changes::follow(&reader, &log).await?;
    let tally = load::load(1..=queries, options.trial.in_flight, &log, |number| reader.ask(number)).await?;

    children.start(vec![game_list("2.0.0", next, 0)?], environment).await?;
    endpoints.replace(&[older, newer, next])?;
    wait_for(reader.game_list(), &["1.0.0", "1.0.1", "2.0.0"]).await?;
    log.say("2.0.0 has joined and serves");
    let quiet = log.for_people();
    let numbers = queries + 1..=queries + further;
    let joined = load::load(numbers, options.trial.in_flight, &quiet, |number| reader.query(number)).await?;
    log.done();

    let asked = joined.asked("2.0.0");
    let line = json!({ "joined": {
        "version": "2.0.0", "asked": asked, "queries": joined.queries, "failed": joined.failed, "fallbacks": joined.fallbacks,
    } });
    log.tell(&line, || {
        format!("2.0.0 was asked {asked} times while {} more queries were made for ^1.0", joined.queries)
    })?;
    let granted = reader.granted();
    let events = changes.told(granted, WAIT).await;
    seen::total(&tally, events, &log)?;
    seen::judge(&tally, &joined, 0)?;
    if events != granted {
        return Err(not_shown(
            "EVENTS",
            format!("{granted} games were granted, and {events} came as events"),
        ));
    }
    Ok(())
}

fn arbiter(place: &Place, address: SocketAddr) -> io::Result<Spec> {
    let options = vec![("--database-url", database(place, DATABASE))];
    place.spec("arbiter", address, &["arbiter"], options)
}

/// One version of game-list, with a copy of its own.
fn game_list(
    place: &Place,
    version: &'static str,
    address: SocketAddr,
    arbiter: &SocketAddr,
    catalog: &Path,
    fault_percent: u32,
) -> io::Result<Spec> {
    let name = match version {
        "1.0.0" => "game-list-1.0.0",
        "1.0.1" => "game-list-1.0.1",
        _ => "game-list-2.0.0",
    };
    let options = vec![
        ("--service-version", version.into()),
        ("--database-url", database(place, &format!("{name}.sqlite"))),
        ("--copy-name", name.into()),
        ("--arbiter-address", arbiter.to_string().into()),
        ("--catalog", catalog.as_os_str().to_owned()),
        ("--inbound-fault-percent", fault_percent.to_string().into()),
        ("--inbound-fault-methods", "ListGames".into()),
    ];
    place.spec(name, address, &["game-list"], options)
}

fn database(place: &Place, file: &str) -> OsString {
    let mut url = OsString::from("sqlite:");
    url.push(place.path().join(file));
    url
}

/// Imports the sample, as a person does.
async fn import(place: &Place, arbiter: &SocketAddr, catalog: &Path) -> Result<(), Failure> {
    let ownership = place.write("ownership.csv", SAMPLE_OWNERSHIP)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["import".as_ref(), ownership.as_os_str(), "--catalog".as_ref(), catalog.as_os_str()])
        .args(["--rejects".as_ref(), place.path().join("rejects.csv").as_os_str()])
        .args(["--arbiter-address", &arbiter.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let done = command.output().await?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Failure::new(Kind::Defect, "IMPORT", format!("the sample could not be imported: {said}")))
}
