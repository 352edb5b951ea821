//! A page that shows a customer's games follows them.

use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::gamelist::v1::watch_games_response::Event;
use gameshelf::proto::gamelist::v1::{OwnedGame, WatchGamesResponse};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::tempdir;
use tonic::{Code, Status, Streaming};

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, any, at_least, eventually, strong};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a stream shows, and at which revision.
type Told = (u64, String);

async fn message(stream: &mut Streaming<WatchGamesResponse>) -> Result<WatchGamesResponse, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("it says something");
    message.map(|message| message.expect("it goes on"))
}

fn ids(games: &[OwnedGame]) -> String {
    games.iter().map(|game| game.game_id.as_str()).collect::<Vec<_>>().join(" ")
}

/// The next message that tells of games.
async fn told(stream: &mut Streaming<WatchGamesResponse>) -> Told {
    tokio::time::timeout(PATIENCE, next_told(stream)).await.expect("it tells of games")
}

async fn next_told(stream: &mut Streaming<WatchGamesResponse>) -> Told {
    loop {
        let message = message(stream).await.unwrap();
        let revision = message.provenance.unwrap().revision;
        match message.event.unwrap() {
            Event::Games(games) => {
                let more = if games.complete { "" } else { " ..." };
                return (revision, format!("= {}{more}", ids(&games.games)));
            }
            Event::Changes(changes) => {
                let revoked = changes.revoked_game_ids.join(" ");
                return (revision, format!("+ {} - {revoked}", ids(&changes.granted)));
            }
            Event::Unchanged(_) => {}
        }
    }
}

async fn refusal(stream: Result<Streaming<WatchGamesResponse>, Status>) -> Status {
    match stream {
        Err(status) => status,
        Ok(mut stream) => message(&mut stream).await.expect_err("it is refused"),
    }
}

fn is(revision: u64, what: &str) -> Told {
    (revision, what.to_owned())
}

on_both_ways! {
    async fn a_stream_begins_with_all_games_and_tells_each_commit_as_one(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        for game in ["a", "b", "c"] {
            arbiter.grant("me", game);
        }
        let game_list = GameList::start(directory.path(), &arbiter, &[follow, "--page-size-max=2"]).await;
        game_list.shows(arbiter.head()).await;
        let mut stream = game_list.watch("me", any()).await.unwrap();
        assert_eq!(told(&mut stream).await, is(3, "= a b ..."));
        assert_eq!(told(&mut stream).await, is(3, "= c"));
        arbiter.commit(&[("me", "a", false), ("me", "d", true), ("other", "x", true), ("me", "e", true)]);
        arbiter.grant("other", "y");
        arbiter.commit(&[("me", "b", false)]);
        assert_eq!(told(&mut stream).await, is(4, "+ d e - a"));
        assert_eq!(told(&mut stream).await, is(6, "+  - b"));
        game_list.stop().await;
    }
}

#[tokio::test]
async fn a_stream_without_news_says_so_with_the_revision_that_the_copy_has_come_to() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &["--watch-unchanged-ms=20"]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let mut stream = game_list.watch("me", any()).await.unwrap();
    assert_eq!(told(&mut stream).await, is(1, "= a"));
    let head = arbiter.grant("other", "a");
    loop {
        let message = message(&mut stream).await.unwrap();
        assert!(matches!(message.event, Some(Event::Unchanged(_))));
        let provenance = message.provenance.unwrap();
        if provenance.revision == head.revision && provenance.age.is_some() && !provenance.degraded {
            break;
        }
    }
    game_list.stop().await;
}

/// However commits fall around the opening of a stream: what it adds up to is what the arbiter has.
#[tokio::test]
async fn nothing_is_lost_or_doubled_between_the_games_and_the_changes() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "g-0")).await;
    arbiter.set(|world| world.message_commits = 1);
    for round in 0..60 {
        // The stream is opened while these are applied.
        let first = round * 5;
        for number in first..first + 5 {
            let (old, new) = (format!("g-{number}"), format!("g-{}", number + 1));
            arbiter.commit(&[("me", &old, false), ("me", &new, true)]);
        }
        let mut stream = game_list.watch("me", any()).await.unwrap();
        let (mut revision, shown) = told(&mut stream).await;
        assert_eq!(shown, format!("= g-{}", revision - 1));
        while revision < first + 6 {
            let next = told(&mut stream).await;
            assert_eq!(next, is(revision + 1, &format!("+ g-{revision} - g-{}", revision - 1)));
            revision = next.0;
        }
    }
    game_list.stop().await;
}

#[tokio::test]
async fn a_rebuilt_copy_sends_all_games_again() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let mut stream = game_list.watch("me", any()).await.unwrap();
    assert_eq!(told(&mut stream).await, is(1, "= a"));
    arbiter.go_down();
    arbiter.set(|world| {
        world.store = 2;
        world.commits.clear();
    });
    arbiter.grant("me", "z");
    arbiter.go_up();
    assert_eq!(told(&mut stream).await, is(1, "= z"));
    arbiter.grant("me", "y");
    assert_eq!(told(&mut stream).await, is(2, "+ y - "));
    game_list.stop().await;
}

#[tokio::test]
async fn a_mended_partition_sends_all_games_of_its_customers_again() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &["--copy-scrub-interval-ms=1"]).await;
    arbiter.grant("me", "a");
    game_list.shows(arbiter.grant("other", "b")).await;
    let mut mine = game_list.watch("me", any()).await.unwrap();
    let mut others = game_list.watch("other", any()).await.unwrap();
    assert_eq!(told(&mut mine).await, is(2, "= a"));
    assert_eq!(told(&mut others).await, is(2, "= b"));
    let file = SqliteConnectOptions::new().filename(directory.path().join("copy.sqlite"));
    let mut disk = file.busy_timeout(Duration::from_secs(5)).connect().await.unwrap();
    sqlx::query("UPDATE owned SET game_id = 'wrong' WHERE customer_id = 'me'")
        .execute(&mut disk)
        .await
        .unwrap();
    assert_eq!(told(&mut mine).await, is(2, "= a"));
    arbiter.commit(&[("me", "z", true), ("other", "z", true)]);
    assert_eq!(told(&mut mine).await, is(3, "+ z - "));
    assert_eq!(told(&mut others).await, is(3, "+ z - "), "the others heard nothing of it");
    game_list.stop().await;
}

#[tokio::test]
async fn the_first_message_is_as_fresh_as_asked_for_or_the_stream_is_refused() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &["--freshness-wait-ms=10000"]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let token = arbiter.grant("me", "b");
    let mut stream = game_list.watch("me", at_least(token)).await.unwrap();
    assert_eq!(told(&mut stream).await, is(2, "= a b"));
    let head = arbiter.grant("me", "c");
    let mut stream = game_list.watch("me", strong()).await.unwrap();
    assert_eq!(told(&mut stream).await, is(3, "= a b c"));
    game_list.stop().await;
    arbiter.set(|world| world.holds_commits = true);
    let game_list = GameList::start(directory.path(), &arbiter, &["--freshness-wait-ms=10"]).await;
    game_list.shows(head).await;
    let beyond = arbiter.grant("me", "d");
    for wish in [strong(), at_least(beyond)] {
        let status = refusal(game_list.watch("me", wish).await).await;
        assert_eq!(reason_of(&status), Some(Reason::FreshnessUnavailable));
    }
    let unknown = refusal(game_list.watch("me", at_least(beyond.at(99))).await).await;
    assert_eq!(reason_of(&unknown), Some(Reason::RevisionUnknown));
    game_list.stop().await;
}

#[tokio::test]
async fn one_stream_over_the_limit_is_refused_and_a_closed_one_makes_room() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &["--watch-streams=1"]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let mut first = game_list.watch("me", any()).await.unwrap();
    told(&mut first).await;
    let status = refusal(game_list.watch("me", any()).await).await;
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::TooManyWatchers)));
    assert_eq!(metadata_of(&status, "limit").as_deref(), Some("1"));
    drop(first);
    let again = async { while game_list.watch("me", any()).await.is_err() {} };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
    game_list.stop().await;
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_the_copy_goes_on() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let flags = ["--watch-queue=1", "--watch-slow-reader-ms=50"];
    let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let mut slow = game_list.watch("me", any()).await.unwrap();
    arbiter.set(|world| world.message_commits = 500);
    for number in 0..500 {
        arbiter.commit(&[("me", &format!("{number}-{}", "x".repeat(200)), true)]);
    }
    game_list.shows(arbiter.head()).await;
    let status = loop {
        if let Err(status) = message(&mut slow).await {
            break status;
        }
    };
    assert_eq!((status.code(), reason_of(&status)), (Code::ResourceExhausted, Some(Reason::SlowReader)));
    eventually("the copy goes on", || arbiter.world().reports.iter().any(|report| !report.token.is_empty()))
        .await;
    game_list.stop().await;
}

#[tokio::test]
async fn a_service_that_stops_ends_its_streams() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let mut stream = game_list.watch("me", any()).await.unwrap();
    told(&mut stream).await;
    game_list.stop().await;
    let status = message(&mut stream).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::ShuttingDown));
}
