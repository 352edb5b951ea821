//! What a caller asks of the freshness, and what it is told of it.

use std::time::Duration;

use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::freshness::v1::Source;
use gameshelf::tokens::Token;
use tempfile::tempdir;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, age, any, at_least, at_most_old, games, provenance, strong};

fn is_unavailable(status: &Status) {
    assert_eq!((status.code(), reason_of(status)), (Code::Unavailable, Some(Reason::FreshnessUnavailable)));
    let retry = status.get_details_retry_info().expect("it says when to try again");
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()));
}

async fn serving(game_list: &GameList) -> ServingStatus {
    let check = HealthCheckRequest { service: "gameshelf.gamelist.v1.GameListService".to_owned() };
    game_list.health.clone().check(check).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn with_the_arbiter_gone_the_age_grows_and_is_told() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let fresh = game_list.list("me", at_most_old(Duration::from_mins(1))).await.unwrap();
    assert_eq!(provenance(&fresh).source(), Source::LocalCopy);
    assert!(age(&fresh).unwrap() < Duration::from_mins(1));
    arbiter.go_down();
    let before = game_list.until("me", |answer| provenance(answer).degraded).await;
    let after = game_list.until("me", |answer| age(answer) > age(&before)).await;
    assert_eq!(games(&after), ["a"], "it still answers");
    let limit = age(&before).unwrap();
    is_unavailable(&game_list.list("me", at_most_old(limit)).await.unwrap_err());
    assert_eq!(serving(&game_list).await, ServingStatus::Serving);
    arbiter.go_up();
    game_list.shows(arbiter.grant("me", "b")).await;
    game_list.until("me", |answer| age(answer) < age(&after)).await;
    game_list.stop().await;
}

#[tokio::test]
async fn an_arbiter_that_does_not_answer_makes_answers_degraded() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &["--probe-overdue-ms=1"]).await;
    // The next question is later than that, so that an answer is overdue most of the time.
    game_list.until("me", |answer| provenance(answer).degraded && age(answer).is_some()).await;
    game_list.stop().await;
}

#[tokio::test]
async fn a_strong_list_comes_from_the_arbiter_or_not_at_all() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    arbiter.set(|world| world.holds_commits = true);
    arbiter.grant("me", "tiny-forest");
    let answer = game_list.list("me", strong()).await.unwrap();
    assert_eq!(games(&answer), ["a", "tiny-forest"]);
    assert_eq!(answer.games[1].title, "Tiny Forest");
    let told = provenance(&answer);
    assert_eq!((told.source(), told.revision, told.degraded), (Source::Arbiter, 2, false));
    assert_eq!(age(&answer), Some(Duration::ZERO));
    assert_eq!(games(&game_list.list("me", any()).await.unwrap()), ["a"], "the copy is behind");
    arbiter.go_down();
    is_unavailable(&game_list.list("me", strong()).await.unwrap_err());
    game_list.stop().await;
}

#[tokio::test]
async fn a_token_is_met_by_the_copy_or_by_the_arbiter() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    let seen = arbiter.grant("me", "a");
    game_list.shows(seen).await;
    arbiter.set(|world| world.holds_commits = true);
    let beyond = arbiter.grant("me", "b");
    let list = async |token: Token| game_list.list("me", at_least(token)).await;
    assert_eq!(provenance(&list(seen).await.unwrap()).source(), Source::LocalCopy);
    let answer = list(beyond).await.unwrap();
    assert_eq!((provenance(&answer).source(), games(&answer)), (Source::Arbiter, vec!["a", "b"]));
    let foreign = Token { store_id: Uuid::from_u128(9), ..seen };
    assert_eq!(reason_of(&list(foreign).await.unwrap_err()), Some(Reason::TokenForeign));
    assert_eq!(reason_of(&list(beyond.at(99)).await.unwrap_err()), Some(Reason::RevisionUnknown));
    arbiter.go_down();
    assert_eq!(games(&list(seen).await.unwrap()), ["a"]);
    is_unavailable(&list(beyond).await.unwrap_err());
    game_list.stop().await;
}

#[tokio::test]
async fn a_copy_that_is_too_old_leaves_the_answer_to_the_arbiter() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let list = async |limit| game_list.list("me", at_most_old(limit)).await.unwrap();
    assert_eq!(provenance(&list(Duration::from_mins(1)).await).source(), Source::LocalCopy);
    assert_eq!(provenance(&list(Duration::ZERO).await).source(), Source::Arbiter);
    game_list.stop().await;
}

#[tokio::test]
async fn before_there_is_a_copy_the_arbiter_is_asked() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    arbiter.go_down();
    arbiter.set(|world| world.holds_snapshot = true);
    arbiter.grant("me", "a");
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    is_unavailable(&game_list.list("me", any()).await.unwrap_err());
    assert_eq!(serving(&game_list).await, ServingStatus::NotServing);
    arbiter.go_up();
    let answer = game_list.until("me", |_| true).await;
    assert_eq!((provenance(&answer).source(), games(&answer)), (Source::Arbiter, vec!["a"]));
    while serving(&game_list).await != ServingStatus::Serving {}
    arbiter.set(|world| world.holds_snapshot = false);
    game_list.until("me", |answer| provenance(answer).source() == Source::LocalCopy).await;
    game_list.stop().await;
}

#[tokio::test]
async fn a_copy_that_never_heard_of_the_arbiter_has_no_age() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    game_list.stop().await;
    arbiter.go_down();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    let answer = game_list.until("me", |_| true).await;
    assert_eq!(games(&answer), ["a"]);
    let told = provenance(&answer);
    assert_eq!((told.age, told.source(), told.degraded), (None, Source::LocalCopy, true));
    is_unavailable(&game_list.list("me", at_most_old(Duration::from_hours(1))).await.unwrap_err());
    assert_eq!(serving(&game_list).await, ServingStatus::Serving);
    game_list.stop().await;
}

/// Most callers who bring a token made it a moment ago, so that the copy has it in another moment.
#[tokio::test]
async fn an_answer_waits_for_the_copy_to_reach_the_token_and_the_arbiter_is_not_asked() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &["--freshness-wait-ms=10000"]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    arbiter.set(|world| world.holds_commits = true);
    let token = arbiter.grant("me", "b");
    let listed = arbiter.world().listed;
    let release = async {
        // The question is on its way by then, or comes after it: the answer is the same.
        tokio::task::yield_now().await;
        arbiter.set(|world| world.holds_commits = false);
    };
    let (answer, ()) = tokio::join!(game_list.list("me", at_least(token)), release);
    let answer = answer.unwrap();
    assert_eq!((provenance(&answer).source(), games(&answer)), (Source::LocalCopy, vec!["a", "b"]));
    assert_eq!(arbiter.world().listed, listed, "the arbiter was not asked");
    game_list.stop().await;
}

#[tokio::test]
async fn an_arbiter_of_another_version_is_as_good_as_gone() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory.path(), &arbiter, &[]).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    game_list.stop().await;
    arbiter.grant("me", "b");
    let game_list = GameList::start(directory.path(), &arbiter, &["--arbiter-requires=^99.0"]).await;
    let answer = game_list.until("me", |answer| provenance(answer).degraded).await;
    assert_eq!((games(&answer), age(&answer)), (vec!["a"], None));
    is_unavailable(&game_list.list("me", strong()).await.unwrap_err());
    game_list.stop().await;
}
