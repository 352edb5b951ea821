//! The copy finds that its rows are not the arbiter's, and mends them.

use std::path::Path;
use std::time::Duration;

use gameshelf::digest;
use gameshelf::proto::arbiter::v1::{DigestState, ReportCopyRequest};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tempfile::tempdir;

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, any, eventually, games, provenance};

/// Flags with which damage is found at once.
const SCRUB: &str = "--copy-scrub-interval-ms=1";

/// The copy's file, as somebody who damages it sees it.
async fn disk(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("copy.sqlite"));
    options.busy_timeout(Duration::from_secs(5)).connect().await.unwrap()
}

async fn damage(directory: &Path, sql: &'static str) {
    let changed = sqlx::query(sql).execute(&mut disk(directory).await).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
}

fn reported(arbiter: &FakeArbiter) -> Option<ReportCopyRequest> {
    arbiter.world().reports.last().cloned()
}

async fn reports(arbiter: &FakeArbiter, state: DigestState) {
    eventually("the copy reports so", || {
        reported(arbiter).is_some_and(|report| report.digest_state() == state)
    })
    .await;
}

/// A copy of games of a few customers that found its rows right.
async fn checked(directory: &Path, arbiter: &FakeArbiter, flags: &[&str]) -> GameList {
    for customer in ["ann", "bob", "cid", "dan"] {
        arbiter.grant(customer, "x");
        arbiter.grant(customer, "y");
    }
    let game_list = GameList::start(directory, arbiter, flags).await;
    game_list.shows(arbiter.head()).await;
    reports(arbiter, DigestState::Equal).await;
    game_list
}

async fn since(game_list: &GameList, customer: &str) -> Vec<(String, u64)> {
    let answer = game_list.list(customer, any()).await.unwrap();
    answer.games.into_iter().map(|game| (game.game_id, game.since_revision)).collect()
}

/// How many parts and how many snapshots of everything were asked for.
fn asked(arbiter: &FakeArbiter) -> (usize, usize) {
    let world = arbiter.world();
    (world.parts.len(), world.snapshots())
}

fn is_of(customer: &str) -> Vec<u32> {
    vec![digest::partition(customer).into()]
}

on_both_ways! {
    async fn a_row_that_was_flipped_on_disk_is_found_and_mended_and_nothing_else_is_written(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let game_list = checked(directory.path(), &arbiter, &[follow, SCRUB]).await;
        let mut disk = disk(directory.path()).await;
        for statement in [
            "CREATE TABLE written (customer_partition INTEGER)",
            "CREATE TRIGGER deleted AFTER DELETE ON owned BEGIN INSERT INTO written VALUES (old.customer_partition); END",
            "CREATE TRIGGER inserted AFTER INSERT ON owned BEGIN INSERT INTO written VALUES (new.customer_partition); END",
        ] {
            sqlx::query(statement).execute(&mut disk).await.unwrap();
        }
        // The arbiter is ahead of the copy: what is read again is what the copy shows, not what is newest.
        arbiter.set(|world| world.holds_commits = true);
        arbiter.grant("ann", "later");
        damage(
            directory.path(),
            "UPDATE owned SET since_revision = 77 WHERE customer_id = 'ann' AND game_id = 'x'",
        )
        .await;
        let mended = game_list.until("ann", |answer| answer.games[0].since_revision == 1).await;
        assert_eq!(games(&mended), ["x", "y"]);
        assert_eq!(arbiter.world().parts, [(8, is_of("ann"))], "one partition was read, as of what the copy shows");
        assert_eq!(arbiter.world().snapshots(), 1, "and nothing else");
        let written = sqlx::query("SELECT DISTINCT customer_partition FROM written").fetch_all(&mut disk).await.unwrap();
        let written: Vec<u32> = written.iter().map(|row| row.get(0)).collect();
        assert_eq!(written, is_of("ann"));
        eventually("the repair is reported", || {
            reported(&arbiter).is_some_and(|report| {
                (report.digest_state(), report.repaired_partitions) == (DigestState::Equal, 1)
            })
        })
        .await;
        game_list.stop().await;
    }

    /// The control of the test above: what mends the row is the check.
    async fn without_the_check_damage_stays(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        arbiter.grant("ann", "x");
        let flags = [follow, SCRUB, "--copy-check=false", "--copy-report-interval-ms=100"];
        let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
        game_list.shows(arbiter.head()).await;
        damage(directory.path(), "UPDATE owned SET since_revision = 77 WHERE customer_id = 'ann'").await;
        game_list.shows(arbiter.grant("bob", "x")).await;
        let before = arbiter.world().reports.len();
        eventually("time passes", || arbiter.world().reports.len() >= before + 5).await;
        assert_eq!(since(&game_list, "ann").await, [("x".to_owned(), 77)]);
        assert_eq!(reported(&arbiter).unwrap().digest_state(), DigestState::Unspecified);
        game_list.stop().await;
    }

    async fn a_row_that_is_missing_and_one_too_many_are_mended(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let game_list = checked(directory.path(), &arbiter, &[follow, SCRUB]).await;
        damage(directory.path(), "DELETE FROM owned WHERE customer_id = 'bob' AND game_id = 'x'").await;
        damage(
            directory.path(),
            "INSERT INTO owned SELECT generation, customer_partition, customer_id, 'z', 3 FROM owned
             WHERE customer_id = 'cid' AND game_id = 'x'",
        )
        .await;
        game_list.until("bob", |answer| games(answer) == ["x", "y"]).await;
        game_list.until("cid", |answer| games(answer) == ["x", "y"]).await;
        assert_eq!(arbiter.world().snapshots(), 1);
        game_list.stop().await;
    }

    async fn damage_from_while_the_service_was_down_is_found_after_the_start(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        // With an hour between two partitions, only the reading at the start can find it.
        let flags = [follow, "--copy-scrub-interval-ms=3600000"];
        checked(directory.path(), &arbiter, &flags).await.stop().await;
        damage(directory.path(), "UPDATE owned SET since_revision = 77 WHERE customer_id = 'dan' AND game_id = 'y'").await;
        let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
        game_list.until("dan", |answer| answer.games[1].since_revision == 8).await;
        game_list.stop().await;
    }

    async fn commits_that_come_while_a_partition_is_mended_are_applied_after_it(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let game_list = checked(directory.path(), &arbiter, &[follow, SCRUB]).await;
        arbiter.set(|world| world.holds_snapshot = true);
        damage(directory.path(), "UPDATE owned SET since_revision = 77 WHERE customer_id = 'ann' AND game_id = 'x'").await;
        eventually("the partition is read", || !arbiter.world().parts.is_empty()).await;
        arbiter.commit(&[("ann", "x", false), ("bob", "x", false)]);
        let head = arbiter.grant("ann", "z");
        assert_eq!(provenance(&game_list.list("ann", any()).await.unwrap()).revision, 8);
        arbiter.set(|world| world.holds_snapshot = false);
        game_list.shows(head).await;
        assert_eq!(since(&game_list, "ann").await, [("y".to_owned(), 2), ("z".to_owned(), 10)]);
        assert_eq!(since(&game_list, "bob").await, [("y".to_owned(), 4)]);
        reports(&arbiter, DigestState::Equal).await;
        assert_eq!(asked(&arbiter), (1, 1));
        game_list.stop().await;
    }

    async fn a_repair_that_fails_is_tried_again_and_commits_are_followed_meanwhile(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let flags = [follow, SCRUB, "--copy-repair-retry-ms=20", "--outbound-attempts=1"];
        let game_list = checked(directory.path(), &arbiter, &flags).await;
        arbiter.set(|world| world.refuses_parts = true);
        damage(directory.path(), "UPDATE owned SET since_revision = 77 WHERE customer_id = 'ann' AND game_id = 'x'").await;
        reports(&arbiter, DigestState::Different).await;
        eventually("it is tried again", || arbiter.world().parts.len() > 2).await;
        game_list.shows(arbiter.grant("bob", "z")).await;
        assert_eq!(since(&game_list, "ann").await[0].1, 77, "it goes on serving what it has");
        arbiter.set(|world| world.refuses_parts = false);
        reports(&arbiter, DigestState::Equal).await;
        assert_eq!(since(&game_list, "ann").await[0].1, 1);
        game_list.stop().await;
    }

    async fn where_more_differs_than_is_mended_the_copy_is_built_anew(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let flags = [follow, SCRUB, "--copy-repair-partitions=0"];
        let game_list = checked(directory.path(), &arbiter, &flags).await;
        damage(directory.path(), "UPDATE owned SET since_revision = 77 WHERE customer_id = 'ann' AND game_id = 'x'").await;
        game_list.until("ann", |answer| answer.games[0].since_revision == 1).await;
        assert_eq!(asked(&arbiter), (0, 2));
        game_list.stop().await;
    }

    async fn the_copy_reports_itself_and_a_report_that_fails_harms_nothing(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        arbiter.set(|world| world.refuses_reports = true);
        let flags = [follow, "--copy-name=shop.eu-1", "--copy-report-interval-ms=100", "--outbound-attempts=1"];
        let game_list = checked(directory.path(), &arbiter, &flags).await;
        arbiter.set(|world| world.refuses_reports = false);
        let token = arbiter.grant("ann", "z").to_string();
        eventually("it reports what it shows", || reported(&arbiter).is_some_and(|report| report.token == token)).await;
        let report = reported(&arbiter).unwrap();
        assert_eq!((report.name.as_str(), report.version.as_str()), ("shop.eu-1", env!("CARGO_PKG_VERSION")));
        game_list.stop().await;
    }
}
