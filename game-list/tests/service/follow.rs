//! The copy follows the arbiter and loses nothing.

use std::collections::VecDeque;

use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::freshness::v1::Source;
use mesh::environment::{Random, SystemRandom};
use tempfile::tempdir;

use crate::arbiter::FakeArbiter;
use crate::arbiter::world::State;
use crate::support::{GameList, any, eventually, games, provenance};

const CUSTOMERS: [&str; 3] = ["a", "b", "c"];
const GAMES: [&str; 4] = ["w", "x", "y", "z"];

/// Commits something to any of a few customers and games.
fn commit_at_random(arbiter: &FakeArbiter) {
    let mut changes = vec![];
    for _ in 0..=SystemRandom.below(2) {
        let customer = CUSTOMERS[usize::try_from(SystemRandom.below(3)).unwrap()];
        let game = GAMES[usize::try_from(SystemRandom.below(4)).unwrap()];
        changes.push((customer, game, SystemRandom.below(3) > 0));
    }
    arbiter.commit(&changes);
}

/// All that the copy shows.
async fn state(game_list: &GameList) -> State {
    let mut state = State::new();
    for customer in CUSTOMERS {
        for game in game_list.list(customer, any()).await.unwrap().games {
            state.insert((customer.to_owned(), game.game_id), game.since_revision);
        }
    }
    state
}

on_both_ways! {
    async fn the_copy_is_built_and_followed(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        for game in ["tiny-forest", "b", "c"] {
            arbiter.grant("me", game);
        }
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        game_list.shows(arbiter.commit(&[("me", "b", false), ("me", "d", true)])).await;
        let listed = arbiter.world().listed;
        let answer = game_list.list("me", any()).await.unwrap();
        assert_eq!(games(&answer), ["c", "d", "tiny-forest"]);
        assert_eq!(answer.games[1].since_revision, 4);
        assert_eq!((answer.games[0].title.as_str(), answer.games[2].title.as_str()), ("c", "Tiny Forest"));
        assert_eq!(answer.catalog_hash.len(), 64);
        let provenance = provenance(&answer);
        assert_eq!(
            (provenance.source(), provenance.revision, provenance.degraded),
            (Source::LocalCopy, 4, false)
        );
        assert_eq!(arbiter.world().listed, listed, "the arbiter was not asked");
        game_list.stop().await;
    }

    async fn after_a_restart_the_copy_resumes_by_its_token(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        arbiter.grant("me", "a");
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        let checkpoint = arbiter.grant("me", "b");
        game_list.shows(checkpoint).await;
        game_list.stop().await;
        arbiter.set(|world| world.watched.clear());
        arbiter.grant("me", "c");
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        let answer = game_list.until("me", |answer| answer.games.len() == 3).await;
        assert_eq!(games(&answer), ["a", "b", "c"]);
        assert_eq!(arbiter.world().watched, [Start::AfterToken(checkpoint.to_string())]);
        game_list.stop().await;
    }

    async fn a_commit_is_never_seen_in_part(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        game_list.shows(arbiter.commit(&[("me", "left-0", true), ("me", "right-0", true)])).await;
        for number in 1..200 {
            let (left, right) = (format!("left-{number}"), format!("right-{number}"));
            let (old_left, old_right) = (format!("left-{}", number - 1), format!("right-{}", number - 1));
            arbiter.commit(&[
                ("me", &old_left, false),
                ("me", &left, true),
                ("me", &old_right, false),
                ("me", &right, true),
            ]);
            let answer = game_list.list("me", any()).await.unwrap();
            let revision = provenance(&answer).revision;
            let expected = [format!("left-{}", revision - 1), format!("right-{}", revision - 1)];
            assert_eq!(games(&answer), expected, "the rows are those of revision {revision}");
            assert!(answer.games.iter().all(|game| game.since_revision == revision));
        }
        game_list.stop().await;
    }

    /// However streams are cut, the service is stopped or killed, and the arbiter goes away: in the end the copy shows what
    /// the arbiter has, and every state in between was one that the arbiter had.
    async fn nothing_is_lost_across_cuts(follow: &str) {
        let directory = tempdir().unwrap();
        let mut arbiter = FakeArbiter::start();
        for _ in 0..20 {
            commit_at_random(&arbiter);
        }
        let game_list = GameList::start(directory.path(), &arbiter, &[follow]).await;
        game_list.shows(arbiter.head()).await;
        let mut game_list = Some(game_list);
        for round in 0..12 {
            let cuts: VecDeque<_> = (0..5).map(|_| usize::try_from(SystemRandom.below(12)).unwrap()).collect();
            arbiter.set(|world| {
                world.cuts = cuts;
                world.message_commits = 1 + usize::try_from(SystemRandom.below(4)).unwrap();
                world.repeats = SystemRandom.below(3);
            });
            for _ in 0..30 {
                commit_at_random(&arbiter);
                tokio::task::yield_now().await;
            }
            if let Some(running) = game_list.take_if(|_| SystemRandom.below(2) == 0) {
                if SystemRandom.below(2) == 0 { running.kill().await } else { running.stop().await }
            }
            if SystemRandom.below(4) == 0 {
                arbiter.go_down();
                arbiter.go_up();
            }
            let running = match game_list.take() {
                Some(running) => running,
                None => GameList::start(directory.path(), &arbiter, &[follow]).await,
            };
            let head = arbiter.head();
            running.shows(head).await;
            assert_eq!(state(&running).await, arbiter.world().state(head.revision), "round {round}");
            game_list = Some(running);
        }
        assert_eq!(arbiter.world().snapshots(), 1, "every stream but the first was resumed");
    }

    async fn a_silent_stream_is_opened_again(follow: &str) {
        let directory = tempdir().unwrap();
        let arbiter = FakeArbiter::start();
        arbiter.set(|world| world.silent = true);
        let game_list = GameList::start(directory.path(), &arbiter, &[follow, "--stale-stream-ms=50"]).await;
        eventually("the stream is opened again", || arbiter.world().watched.len() > 2).await;
        arbiter.set(|world| world.silent = false);
        game_list.shows(arbiter.grant("me", "a")).await;
        game_list.stop().await;
    }
}

#[tokio::test]
async fn a_poll_that_waits_longer_than_other_calls_may_take_is_no_outage() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    arbiter.set(|world| world.waits = true);
    let flags = ["--follow=poll", "--poll-wait-ms=600", "--dispatch-attempt-timeout-ms=300"];
    let game_list = GameList::start(directory.path(), &arbiter, &flags).await;
    game_list.shows(arbiter.grant("me", "a")).await;
    let polled = arbiter.world().polled;
    let waited = arbiter.world().waited;
    eventually("polls have waited in vain", || {
        arbiter.world().waited > waited + 1 || arbiter.world().polled > polled
    })
    .await;
    assert_eq!(arbiter.world().polled, polled, "it goes on from where it was");
    game_list.stop().await;
}
