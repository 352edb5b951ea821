//! What a caller has seen anywhere is not taken back by a list, however weak a freshness it asks for.

use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::freshness::v1::Source;
use gameshelf::tokens::Token;
use mesh::causal::{self, Session};
use tempfile::tempdir;
use tonic::Code;
use uuid::Uuid;

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, any, at_most_old, games, provenance, strong};

fn seen(token: Token) -> causal::Token {
    causal::Token { scope: token.scope().into(), position: token.revision }
}

/// A game-list whose copy has one game, and an arbiter that has two.
async fn behind(directory: &std::path::Path) -> (FakeArbiter, GameList, [Token; 2]) {
    let arbiter = FakeArbiter::start();
    let game_list = GameList::start(directory, &arbiter, &[]).await;
    let shown = arbiter.grant("me", "a");
    game_list.shows(shown).await;
    arbiter.set(|world| world.holds_commits = true);
    let beyond = arbiter.grant("me", "b");
    (arbiter, game_list, [shown, beyond])
}

#[tokio::test]
async fn what_was_seen_is_listed_at_any_freshness_although_the_copy_is_behind() {
    let directory = tempdir().unwrap();
    let (mut arbiter, game_list, [shown, beyond]) = behind(directory.path()).await;
    for wish in [any(), at_most_old(Duration::from_mins(1))] {
        let without = game_list.list("me", wish.clone()).await.unwrap();
        assert_eq!((games(&without), provenance(&without).source()), (vec!["a"], Source::LocalCopy));
        let as_far = Session::resumed([seen(shown)]);
        let answer = as_far.run(game_list.list("me", wish.clone())).await.unwrap();
        assert_eq!(provenance(&answer).source(), Source::LocalCopy, "the copy is enough");
        let further = Session::resumed([seen(beyond)]);
        let answer = further.run(game_list.list("me", wish.clone())).await.unwrap();
        assert_eq!((games(&answer), provenance(&answer).source()), (vec!["a", "b"], Source::Arbiter));
    }
    let further = Session::resumed([seen(beyond)]);
    let status = further.run(game_list.watch("me", any())).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::FreshnessUnavailable), "a stream is the copy's");
    arbiter.go_down();
    let status = further.run(game_list.list("me", any())).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::FreshnessUnavailable)));
    let told = ["seen_revision", "copy_revision"].map(|key| metadata_of(&status, key).unwrap());
    assert_eq!(told, ["2", "1"], "why the copy is not enough");
    assert_eq!(games(&game_list.list("me", any()).await.unwrap()), ["a"], "to others it is");
    game_list.stop().await;
}

#[tokio::test]
async fn a_newer_incarnation_was_seen_the_arbiter_is_asked_and_other_stores_do_not_count() {
    let directory = tempdir().unwrap();
    let (arbiter, game_list, [shown, _]) = behind(directory.path()).await;
    let list = async |token: Token| {
        let answer = Session::resumed([seen(token)]).run(game_list.list("me", any())).await.unwrap();
        provenance(&answer).source()
    };
    let newer = Token { incarnation: shown.incarnation + 1, ..shown };
    let older = Token { incarnation: shown.incarnation - 1, ..shown };
    let foreign = Token { store_id: Uuid::from_u128(9), ..shown };
    assert_eq!(list(newer.at(0)).await, Source::Arbiter);
    assert_eq!(list(older.at(99)).await, Source::LocalCopy);
    assert_eq!(list(foreign.at(99)).await, Source::LocalCopy);
    drop(arbiter);
    game_list.stop().await;
}

#[tokio::test]
async fn a_list_tells_how_far_it_has_shown_the_store_wherever_it_came_from() {
    let directory = tempdir().unwrap();
    let (_arbiter, game_list, [shown, beyond]) = behind(directory.path()).await;
    let session = Session::new();
    session.run(game_list.list("me", any())).await.unwrap();
    assert_eq!(session.tokens(), [seen(shown)]);
    let watching = Session::new();
    watching.run(game_list.watch("me", any())).await.unwrap();
    assert_eq!(watching.tokens(), [seen(shown)]);
    session.run(game_list.list("me", strong())).await.unwrap();
    assert_eq!(session.tokens(), [seen(beyond)]);
    let answer = session.run(game_list.list("me", any())).await.unwrap();
    assert_eq!(games(&answer), ["a", "b"], "what was shown is not taken back");
    game_list.stop().await;
}
