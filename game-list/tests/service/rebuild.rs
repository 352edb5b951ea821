//! When a stream cannot be resumed the copy is built anew, and the old one goes on serving meanwhile.

use gameshelf::proto::freshness::v1::Source;
use tempfile::tempdir;

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, any, eventually, games, provenance};

/// A game-list whose copy shows that `me` owns `a` and `b`.
async fn followed(directory: &std::path::Path, arbiter: &FakeArbiter, follow: &str) -> GameList {
    arbiter.grant("me", "a");
    let token = arbiter.grant("me", "b");
    let game_list = GameList::start(directory, arbiter, &[follow]).await;
    game_list.shows(token).await;
    game_list
}

/// Lets the next snapshot stop before its end, shows that the old copy serves meanwhile, and lets it go on.
async fn served_from_the_old_copy_meanwhile(arbiter: &FakeArbiter, game_list: &GameList) {
    eventually("a snapshot is asked for", || arbiter.world().snapshots() == 2).await;
    let answer = game_list.until("me", |answer| provenance(answer).degraded).await;
    assert_eq!(games(&answer), ["a", "b"]);
    assert_eq!((provenance(&answer).source(), provenance(&answer).revision), (Source::LocalCopy, 2));
    arbiter.set(|world| world.holds_snapshot = false);
}

on_both_ways! {
    /// A stream that leaves a commit out must not be applied: what is shown would be neither old nor new.
    async fn after_a_gap_the_copy_is_built_anew(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let game_list = followed(directory.path(), &arbiter, follow).await;
        arbiter.set(|world| {
            world.left_out = Some(3);
            world.holds_snapshot = true;
        });
        arbiter.grant("me", "left-out");
        arbiter.grant("me", "after-it");
        served_from_the_old_copy_meanwhile(&arbiter, &game_list).await;
        let answer = game_list.until("me", |answer| provenance(answer).revision == 4).await;
        assert_eq!(games(&answer), ["a", "after-it", "b", "left-out"]);
        game_list.stop().await;
    }

    async fn a_bookmark_past_what_was_sent_is_a_gap_too(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let game_list = followed(directory.path(), &arbiter, follow).await;
        arbiter.set(|world| world.left_out = Some(3));
        game_list.shows(arbiter.grant("me", "left-out")).await;
        assert_eq!(games(&game_list.list("me", any()).await.unwrap()), ["a", "b", "left-out"]);
        assert_eq!(arbiter.world().snapshots(), 2);
        game_list.stop().await;
    }

    async fn a_compacted_history_is_told_by_a_snapshot(follow: &str) {
        let directory = tempdir().unwrap();
        let mut arbiter = FakeArbiter::start();
        let game_list = followed(directory.path(), &arbiter, follow).await;
        arbiter.go_down();
        game_list.until("me", |answer| provenance(answer).degraded).await;
        arbiter.commit(&[("me", "a", false), ("me", "c", true)]);
        arbiter.set(|world| {
            world.compacted = 3;
            world.holds_snapshot = true;
        });
        arbiter.go_up();
        served_from_the_old_copy_meanwhile(&arbiter, &game_list).await;
        game_list.shows(arbiter.head()).await;
        assert_eq!(games(&game_list.list("me", any()).await.unwrap()), ["b", "c"]);
        game_list.stop().await;
    }

    /// The other store is at a lower revision, so that a copy which compared revisions alone would not notice.
    async fn of_another_store_the_copy_is_built_anew(follow: &str) {
        for (store, incarnation) in [(2, 1), (1, 2)] {
            let directory = tempdir().unwrap();
            let mut arbiter = FakeArbiter::start();
            let game_list = followed(directory.path(), &arbiter, follow).await;
            arbiter.go_down();
            arbiter.set(|world| {
                (world.store, world.incarnation) = (store, incarnation);
                world.commits.clear();
                world.holds_snapshot = true;
            });
            arbiter.grant("me", "z");
            arbiter.go_up();
            served_from_the_old_copy_meanwhile(&arbiter, &game_list).await;
            game_list.shows(arbiter.head()).await;
            let answer = game_list.list("me", any()).await.unwrap();
            assert_eq!((games(&answer), provenance(&answer).revision), (vec!["z"], 1));
            game_list.stop().await;
        }
    }

    async fn a_snapshot_that_was_cut_off_begins_again(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        for game in ["a", "b", "c", "d", "e"] {
            arbiter.grant("me", game);
        }
        arbiter.set(|world| {
            world.holds_snapshot = true;
            world.cuts = [1, 2].into();
        });
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        eventually("two streams are cut", || arbiter.world().watched.len() == 3).await;
        game_list.kill().await;
        arbiter.commit(&[("me", "a", false)]);
        arbiter.set(|world| world.holds_snapshot = false);
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        game_list.shows(arbiter.head()).await;
        assert_eq!(games(&game_list.list("me", any()).await.unwrap()), ["b", "c", "d", "e"]);
        game_list.stop().await;
    }
}
