//! `gameshelf example tickets`: two versions of a service on one database, one of which fails on purpose; and a feed.

mod desk;
mod verdict;

use std::net::SocketAddr;

use clap::Args;
use mesh::environment::Environment;

use super::Trial;
use super::children::{self, Children, Endpoints, Place, free_addresses};
use super::events::Events;
use super::load::{self, Tally};
use super::log::Log;
use super::seen::{WAIT, wait_for};
use crate::exit::Failure;
use crate::output::Output;
use crate::up::child::Spec;
use desk::Desk;
use verdict::Seen;

const DATABASE: &str = "tickets.sqlite";
/// Of so many queries one more is made after the next major version has joined.
const AFTER_JOIN: u64 = 10;

/// Two versions of a service of tickets, of which the newer one fails on purpose: no query does
///
/// Starts tickets 1.0.0 and 1.0.1, each a process of its own, on one database; 1.0.1 refuses a share of its queries before it does
/// anything. A feed, a third process, keeps the latest ten replies by what it is told of them. All queries are made for ^1.0, while
/// replies are added; then 2.0.0 joins, and gets nothing. Each fallback and each event is told. The exit code is 0 only when no
/// query failed, each reply was one event, and 2.0.0 was asked nothing.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Tickets, each with a reply, that there are before the queries
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    seed_data: u32,
    /// Replies to add while the queries are made
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    replies: u32,
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
    let [older, newer, next, feed] = free_addresses()?;
    let endpoints = Endpoints::write(place, "tickets.endpoints", &[older, newer])?;
    children.start(specs(options, place, &endpoints, [older, newer, feed])?, environment).await?;
    log.say(&format!("1.0.0 at {older} and 1.0.1 at {newer} serve, and the feed at {feed}"));

    let desk = Desk::open(options, &endpoints, environment).await?;
    wait_for(desk.tickets(), &["1.0.0", "1.0.1"]).await?;
    let mut events = Events::follow(feed, environment, &log).await?;
    desk.seed().await?;
    let tally = load::load(1..=queries, options.trial.in_flight, &log, |number| desk.ask(number)).await?;

    children.start(vec![tickets(place, "2.0.0", next, 0)?], environment).await?;
    endpoints.replace(&[older, newer, next])?;
    wait_for(desk.tickets(), &["1.0.0", "1.0.1", "2.0.0"]).await?;
    log.say("2.0.0 has joined and serves");
    let joined = after_join(&desk, queries + 1..=queries + further, &log).await?;
    log.done();
    let asked_of_next = desk.served(next).await?;

    let expected = desk.replies_added();
    let told = events.told(expected, WAIT).await;
    let latest = events.latest().await?;
    let seen = Seen { tally, joined, asked_of_next, replies: expected, told, latest };
    verdict::tell(&seen, &log)?;
    verdict::judge(&seen)
}

/// Further queries, which are summed up in one line.
async fn after_join(
    desk: &Desk<'_>,
    numbers: std::ops::RangeInclusive<u64>,
    log: &Log,
) -> Result<Tally, Failure> {
    let quiet = log.for_people();
    load::load(numbers, desk.in_flight(), &quiet, |number| desk.query(number)).await
}

/// The processes that there are from the first.
fn specs(
    options: &Options,
    place: &Place,
    endpoints: &Endpoints<'_>,
    [older, newer, feed]: [SocketAddr; 3],
) -> Result<Vec<Spec>, Failure> {
    let source = endpoints.source().to_string().into();
    let feed = place.spec(
        "tickets-feed",
        feed,
        &["example", "tickets-feed"],
        vec![("--tickets-source", source), ("--tickets-range", "^1.0".into())],
    )?;
    Ok(vec![
        tickets(place, "1.0.0", older, 0)?,
        tickets(place, "1.0.1", newer, options.trial.fault_percent)?,
        feed,
    ])
}

/// One version of the service.
fn tickets(
    place: &Place,
    version: &'static str,
    address: SocketAddr,
    fault_percent: u32,
) -> Result<Spec, Failure> {
    let name = match version {
        "1.0.0" => "tickets-1.0.0",
        "1.0.1" => "tickets-1.0.1",
        _ => "tickets-2.0.0",
    };
    let options = vec![
        ("--build", version.into()),
        // Whatever the environment says of services.
        ("--service-version", version.into()),
        ("--database-file", place.path().join(DATABASE).into_os_string()),
        ("--inbound-fault-percent", fault_percent.to_string().into()),
        ("--inbound-fault-methods", "Query".into()),
    ];
    Ok(place.spec(name, address, &["example", "tickets-service"], options)?)
}
