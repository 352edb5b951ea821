//! Pages and bad requests.

use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Freshness, Source};
use gameshelf::proto::gamelist::v1::{ListGamesRequest, ListGamesResponse};
use tempfile::tempdir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, any, games, provenance, strong};

fn page(customer_id: &str, page_token: &str, requirement: Requirement) -> ListGamesRequest {
    ListGamesRequest {
        customer_id: customer_id.to_owned(),
        page_size: 2,
        page_token: page_token.to_owned(),
        freshness: Some(Freshness { requirement: Some(requirement) }),
    }
}

fn named(status: &Status) -> Vec<String> {
    assert_eq!((status.code(), reason_of(status)), (Code::InvalidArgument, Some(Reason::InvalidFields)));
    let request = status.get_details_bad_request().expect("the fields are named");
    request.field_violations.into_iter().map(|violation| violation.field).collect()
}

async fn with_five_games(directory: &std::path::Path, arbiter: &FakeArbiter, flags: &[&str]) -> GameList {
    for game in ["a", "b", "c", "d", "e"] {
        arbiter.grant("me", game);
    }
    let game_list = GameList::start(directory, arbiter, flags).await;
    game_list.shows(arbiter.head()).await;
    game_list
}

#[tokio::test]
async fn pages_of_the_copy_have_every_game_once() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = with_five_games(directory.path(), &arbiter, &[]).await;
    let (mut all, mut token) = (vec![], String::new());
    loop {
        let ListGamesResponse { games, next_page_token, provenance, .. } =
            game_list.ask(page("me", &token, any())).await.unwrap();
        assert_eq!(provenance.unwrap().source(), Source::LocalCopy);
        all.extend(games.into_iter().map(|game| game.game_id));
        token = next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(all, ["a", "b", "c", "d", "e"]);
    game_list.stop().await;
}

#[tokio::test]
async fn pages_of_the_arbiter_show_the_revision_of_the_first() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = with_five_games(directory.path(), &arbiter, &["--arbiter-page-size=2"]).await;
    let first = game_list.ask(page("me", "", strong())).await.unwrap();
    arbiter.commit(&[("me", "c", false), ("me", "cc", true)]);
    let second = game_list.ask(page("me", &first.next_page_token, strong())).await.unwrap();
    assert_eq!((games(&first), games(&second)), (vec!["a", "b"], vec!["c", "d"]));
    for answer in [&first, &second] {
        assert_eq!((provenance(answer).source(), provenance(answer).revision), (Source::Arbiter, 5));
    }
    arbiter.go_down();
    let gone = game_list.ask(page("me", &second.next_page_token, strong())).await.unwrap_err();
    assert_eq!(reason_of(&gone), Some(Reason::FreshnessUnavailable));
    game_list.stop().await;
}

#[tokio::test]
async fn a_page_token_is_for_its_customer_and_its_store() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    let game_list = with_five_games(directory.path(), &arbiter, &[]).await;
    let token = game_list.ask(page("me", "", any())).await.unwrap().next_page_token;
    for (customer, token) in [("you", token.as_str()), ("me", "x"), ("me", &token[1..]), ("me", "a page")] {
        let refused = game_list.ask(page(customer, token, any())).await.unwrap_err();
        assert_eq!(named(&refused), ["page_token"], "{customer} {token}");
    }
    arbiter.go_down();
    arbiter.set(|world| world.store = 2);
    arbiter.go_up();
    game_list.shows(arbiter.head()).await;
    let refused = game_list.ask(page("me", &token, any())).await.unwrap_err();
    assert_eq!(named(&refused), ["page_token"], "the store of the first page is gone");
    game_list.stop().await;
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let game_list = with_five_games(directory.path(), &arbiter, &["--page-size-max=3"]).await;
    let too_old = Requirement::AtMostOld(prost_types::Duration { seconds: -1, nanos: 0 });
    let bad = ListGamesRequest { page_size: 4, ..page("", "", too_old) };
    let refused = game_list.ask(bad).await.unwrap_err();
    assert_eq!(named(&refused), ["customer_id", "page_size", "freshness.at_most_old"]);
    let no_token = Requirement::AtLeastAsFreshAs("yesterday".to_owned());
    let bad = ListGamesRequest { page_size: -1, ..page(&"c".repeat(65), "", no_token) };
    let refused = game_list.ask(bad).await.unwrap_err();
    assert_eq!(named(&refused), ["customer_id", "page_size", "freshness.at_least_as_fresh_as"]);
    let unset = ListGamesRequest { customer_id: "me".to_owned(), ..ListGamesRequest::default() };
    let answer = game_list.ask(unset).await.unwrap();
    assert_eq!((answer.games.len(), provenance(&answer).source()), (3, Source::LocalCopy));
    game_list.stop().await;
}
