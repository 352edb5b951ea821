//! Titles come from a file that is read again, or from purchase.

use tempfile::tempdir;

use crate::arbiter::FakeArbiter;
use crate::purchase::{FakePurchase, catalog};
use crate::support::{GameList, eventually, titles};

const QUICK: &str = "--catalog-interval-ms=5";

/// An arbiter by which a customer owns these games.
fn arbiter_with(games: &[&str]) -> FakeArbiter {
    let arbiter = FakeArbiter::start();
    for game in games {
        arbiter.grant("me", game);
    }
    arbiter
}

/// Waits until the titles are these.
async fn shows(game_list: &GameList, expected: &[&str]) {
    game_list.until("me", |answer| titles(answer) == expected).await;
}

#[tokio::test]
async fn titles_follow_the_catalogues_file_and_a_wrong_one_is_not_used() {
    let directory = tempdir().unwrap();
    let arbiter = arbiter_with(&["tiny-forest"]);
    let game_list = GameList::start(directory.path(), &arbiter, &[QUICK]).await;
    shows(&game_list, &["Tiny Forest"]).await;
    let path = directory.path().join("catalog.csv");
    let content = std::fs::read_to_string(&path).unwrap();
    let replace = |content: &str| {
        std::fs::write(directory.path().join("next.csv"), content).unwrap();
        std::fs::rename(directory.path().join("next.csv"), &path).unwrap();
    };
    replace(&content.replace("Tiny Forest", "Wide Forest"));
    shows(&game_list, &["Wide Forest"]).await;
    replace(&format!("{}bad,Bad,sold,,,,\n", content.replace("Tiny Forest", "Wrong Forest")));
    for _ in 0..50 {
        let answer = game_list.until("me", |_| true).await;
        assert_eq!(titles(&answer), ["Wide Forest"]);
    }
    replace(&content.replace("Tiny Forest", "Last Forest"));
    // Not once is the wrong one seen before the next good one.
    game_list
        .until("me", |answer| {
            assert_ne!(titles(answer), ["Wrong Forest"]);
            titles(answer) == ["Last Forest"]
        })
        .await;
    game_list.stop().await;
}

#[tokio::test]
async fn purchase_gives_the_titles_once_and_says_unchanged_by_their_hash() {
    let directory = tempdir().unwrap();
    let arbiter = arbiter_with(&["a", "b", "old-sea", "unknown"]);
    let purchase = FakePurchase::start(catalog("First", &["a", "b", "c", "d"]));
    purchase.world().games_per_page = 2;
    let game_list = GameList::start(directory.path(), &arbiter, &[QUICK, &purchase.flag()]).await;
    shows(&game_list, &["First a", "First b", "First old-sea", "unknown"]).await;
    let hash = purchase.world().catalog.hash().to_owned();
    game_list.until("me", |answer| answer.catalog_hash == hash).await;
    let asked = purchase.world().asked;
    eventually("it is asked again and again", || purchase.world().asked > asked + 5).await;
    assert_eq!(purchase.world().pages, 3);
    assert_eq!(purchase.world().whole, 1);

    let next = catalog("Second", &["a", "b", "c", "d"]);
    let hash = next.hash().to_owned();
    purchase.world().catalog = next;
    let answer = game_list.until("me", |answer| answer.catalog_hash == hash).await;
    assert_eq!(titles(&answer), ["Second a", "Second b", "Second old-sea", "unknown"]);
    assert_eq!(purchase.world().whole, 2);
    game_list.stop().await;
}

#[tokio::test]
async fn without_purchase_the_titles_from_before_are_shown_after_a_restart_too() {
    let directory = tempdir().unwrap();
    let arbiter = arbiter_with(&["a", "old-sea"]);
    let mut purchase = FakePurchase::start(catalog("First", &["a"]));
    let flags = [QUICK, &purchase.flag()];
    let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
    shows(&game_list, &["First a", "First old-sea"]).await;
    let asked = purchase.world().asked;
    // An answer later the catalogue is on disk.
    eventually("it is asked again", || purchase.world().asked > asked + 1).await;
    purchase.go_down();
    shows(&game_list, &["First a", "First old-sea"]).await;
    game_list.kill().await;

    let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
    let answer = game_list.until("me", |_| true).await;
    assert_eq!(titles(&answer), ["First a", "First old-sea"]);
    assert_eq!(answer.catalog_hash, purchase.world().catalog.hash());
    // What is on disk is known by its hash: it does not come over the wire again.
    let asked = purchase.world().asked;
    purchase.go_up();
    eventually("it is asked again", || purchase.world().asked > asked).await;
    assert_eq!(purchase.world().whole, 1);
    purchase.world().catalog = catalog("Second", &["a"]);
    shows(&game_list, &["Second a", "Second old-sea"]).await;
    game_list.stop().await;
}

#[tokio::test]
async fn at_a_first_start_without_purchase_games_are_shown_by_their_ids() {
    let directory = tempdir().unwrap();
    let arbiter = arbiter_with(&["a", "old-sea"]);
    let mut purchase = FakePurchase::start(catalog("First", &["a"]));
    purchase.go_down();
    let game_list = GameList::start(directory.path(), &arbiter, &[QUICK, &purchase.flag()]).await;
    game_list.shows(arbiter.head()).await;
    let answer = game_list.until("me", |_| true).await;
    assert_eq!(titles(&answer), ["a", "old-sea"]);
    assert_eq!(answer.catalog_hash, "", "it is stated that there is no catalogue");
    purchase.go_up();
    shows(&game_list, &["First a", "First old-sea"]).await;
    game_list.stop().await;
}

async fn a_catalogue_that_changes_between_its_pages(refuses_old_pages: bool) {
    let directory = tempdir().unwrap();
    let games = ["a", "b", "c", "d", "e"];
    let arbiter = arbiter_with(&games);
    let purchase = FakePurchase::start(catalog("0th", &games));
    {
        let mut world = purchase.world();
        world.games_per_page = 2;
        world.refuses_old_pages = refuses_old_pages;
        // Five times, which is more often than it begins again at once.
        world.changes_between_pages = (1..=5).map(|number| catalog(&format!("{number}th"), &games)).collect();
    }
    let game_list = GameList::start(directory.path(), &arbiter, &[QUICK, &purchase.flag()]).await;
    game_list
        .until("me", |answer| {
            let titles = titles(answer);
            let titled = titles.iter().filter_map(|title| title.split_once(' '));
            let words: Vec<&str> = titled.map(|(word, _)| word).collect();
            assert!(words.iter().all(|word| *word == words[0]), "{titles:?}");
            titles.first().is_some_and(|title| *title == "5th a")
        })
        .await;
    game_list.stop().await;
}

#[tokio::test]
async fn a_catalogue_that_changes_between_its_pages_is_never_mixed() {
    a_catalogue_that_changes_between_its_pages(true).await;
}

#[tokio::test]
async fn pages_of_instances_with_different_catalogues_are_never_mixed() {
    a_catalogue_that_changes_between_its_pages(false).await;
}

#[tokio::test]
async fn a_catalogue_of_purchase_that_no_file_could_hold_is_not_used() {
    let directory = tempdir().unwrap();
    let arbiter = arbiter_with(&["a"]);
    let purchase = FakePurchase::start(catalog("First", &["a"]));
    let game_list = GameList::start(directory.path(), &arbiter, &[QUICK, &purchase.flag()]).await;
    shows(&game_list, &["First a"]).await;
    {
        let mut world = purchase.world();
        world.catalog = catalog("Second", &["a"]);
        world.spoil = |game| game.required_age = 256;
    }
    let whole = purchase.world().whole;
    eventually("it was given some times", || purchase.world().whole > whole + 2).await;
    let answer = game_list.until("me", |_| true).await;
    assert_eq!(titles(&answer), ["First a"]);
    purchase.world().spoil = |_| {};
    shows(&game_list, &["Second a"]).await;
    game_list.stop().await;
}
