//! A copy in memory follows an arbiter that the test scripts.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

#[path = "../fake/arbiter.rs"]
mod arbiter;

use std::sync::Arc;
use std::time::Duration;

use copy::{Copy, DigestState, Follow, Memory, Options, RebuildCause, Row, Target};
use mesh::environment::{Environment, SystemClock};
use mesh::outbound::{Outbound, OutboundConfig};
use tokio_util::sync::CancellationToken;

use arbiter::FakeArbiter;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn quick(follow: Follow) -> Options {
    let ms = Duration::from_millis;
    Options {
        follow,
        backoff_base: ms(5),
        backoff_max: ms(40),
        scrub_interval: ms(1),
        repair_retry: ms(20),
        probe_interval: ms(10),
        ..Options::default()
    }
}

async fn keep(arbiter: &FakeArbiter, target: &Arc<Memory>, options: Options) -> Copy {
    let environment = Environment::system();
    let outbound =
        Outbound::new("arbiter", &arbiter.address.into(), &OutboundConfig::default(), &environment);
    copy::follow(Arc::clone(target), &outbound, options, &environment, CancellationToken::new())
        .await
        .unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

fn games(memory: &Memory, customer: &str) -> Vec<(String, u64)> {
    memory.games(customer).map(|(_, games)| games.into_iter().collect()).unwrap_or_default()
}

async fn follows(follow: Follow) {
    let arbiter = FakeArbiter::start();
    arbiter.grant("ann", "a");
    let memory = Arc::new(Memory::default());
    let copy = keep(&arbiter, &memory, quick(follow)).await;
    let token = arbiter.commit(&[("ann", "a", false), ("ann", "b", true)]);
    tokio::time::timeout(PATIENCE, copy.status().reached(token)).await.unwrap();
    assert_eq!(games(&memory, "ann"), [("b".to_owned(), 2)]);
    copy.status().followed(&SystemClock).await;
    eventually("it is compared", || copy.status().digest_state() == DigestState::Equal).await;
    assert_eq!(arbiter.world().polled > 0, follow == Follow::Poll);
}

#[tokio::test]
async fn a_copy_in_memory_follows_by_stream_and_by_poll() {
    follows(Follow::Stream).await;
    follows(Follow::Poll).await;
}

#[tokio::test]
async fn rows_that_changed_without_a_commit_are_mended() {
    let arbiter = FakeArbiter::start();
    let head = arbiter.grant("ann", "a");
    let memory = Arc::new(Memory::default());
    let copy = keep(&arbiter, &memory, quick(Follow::Stream)).await;
    eventually("it is compared", || copy.status().digest_state() == DigestState::Equal).await;
    let wrong = Row::new("ann".to_owned(), "wrong".to_owned(), 1);
    memory.replace(wrong.partition, head, vec![wrong]).await.unwrap();
    eventually("it is mended", || copy.status().repaired_partitions() == 1).await;
    assert_eq!(games(&memory, "ann"), [("a".to_owned(), 1)]);
}

#[tokio::test]
async fn the_status_says_why_the_copy_is_built_anew_and_the_old_one_serves_meanwhile() {
    for (change, cause) in [
        ((|world| world.store = 2) as fn(&mut arbiter::world::World), RebuildCause::OtherStore),
        (|world| world.incarnation = 2, RebuildCause::BeyondHead),
        (|world| world.commits.truncate(1), RebuildCause::BeyondHead),
        (|world| world.compacted = 3, RebuildCause::Compacted),
    ] {
        let mut arbiter = FakeArbiter::start();
        arbiter.grant("ann", "a");
        let token = arbiter.grant("ann", "b");
        let memory = Arc::new(Memory::default());
        let copy = keep(&arbiter, &memory, quick(Follow::Stream)).await;
        tokio::time::timeout(PATIENCE, copy.status().reached(token)).await.unwrap();
        assert_eq!(copy.status().rebuilding(), None);
        arbiter.go_down();
        arbiter.set(|world| {
            change(world);
            world.holds_snapshot = true;
        });
        arbiter.go_up();
        eventually("it says why", || copy.status().rebuilding() == Some(cause)).await;
        eventually("a snapshot is asked for", || arbiter.world().snapshots() == 2).await;
        assert_eq!(copy.status().checkpoint(), Some(token), "the old one serves");
        assert_eq!(games(&memory, "ann").len(), 2);
        arbiter.set(|world| world.holds_snapshot = false);
        let head = arbiter.head();
        eventually("it is complete", || copy.status().checkpoint() == Some(head)).await;
        eventually("it needs no snapshot", || copy.status().rebuilding().is_none()).await;
    }
}

#[test]
fn the_documentation_shows_the_example() {
    let (page, example) = (include_str!("../../../docs/copy.md"), include_str!("../../examples/memory.rs"));
    assert!(page.contains(example.trim_end()));
    assert!(example.lines().count() <= 30);
}
