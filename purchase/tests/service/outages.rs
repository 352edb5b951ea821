//! What becomes of a purchase when others fail.

use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::payment::v1::State;
use gameshelf::proto::purchase::v1::{BuyRequest, OrderState};
use mesh::deadline;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::faults::Fault;
use crate::postgres;
use crate::shop::{World, eventually, purchase};
use crate::stored;

/// For tests in which the order cannot end at once.
const SHORT_WAIT: &str = "--buy-wait-ms=20";

#[tokio::test]
async fn with_the_arbiter_down_an_order_is_pending_and_completed_when_it_is_back() {
    let mut world = World::new(&[SHORT_WAIT]).await;
    world.arbiter_served = None;
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let order = shop.bought(&request).await;
    assert_eq!(order.state(), OrderState::Pending);
    let again = shop.buy(request).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.order.unwrap().state(), OrderState::Pending);
    assert_eq!(world.provider.count(State::Captured), 0, "nothing is taken before the grant");
    world.serve_arbiter().await;
    shop.until(&order.order_id, OrderState::Completed).await;
    assert_eq!(world.provider.count(State::Captured), 1);
}

#[tokio::test]
async fn a_buyer_who_waits_sees_the_end_that_comes_late() {
    let world = World::new(&[]).await;
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let (order, ()) = tokio::join!(shop.bought(&request), async {
        eventually("the arbiter was asked twice", async || {
            world.script.calls().iter().filter(|call| **call == "grant").count() >= 2
        })
        .await;
        world.script.set_arbiter_down(false);
    });
    assert_eq!(order.state(), OrderState::Completed);
}

#[tokio::test]
async fn a_lost_answer_has_one_effect() {
    for call in ["authorize", "grant", "capture"] {
        let world = World::new(&[]).await;
        world.script.next(call, Fault::Lose);
        let shop = world.open().await;
        let order = shop.bought(&purchase("paid", "approve")).await;
        assert_eq!(order.state(), OrderState::Completed, "{call}");
        assert_eq!(world.script.calls().len(), 4, "{call} is repeated");
        for step in ["authorize", "grant", "capture"] {
            assert_eq!(world.script.ids(step).len(), 1, "{step} is repeated under its id");
        }
        assert_eq!(world.provider.count(State::Captured), 1);
    }
}

#[tokio::test]
async fn a_lost_answer_of_a_void_has_one_effect() {
    let world = World::new(&[]).await;
    world.arbiter.give("ann", "paid");
    world.script.next("void", Fault::Lose);
    let shop = world.open().await;
    let status = shop.buy(purchase("paid", "approve")).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::AlreadyOwned));
    assert_eq!(world.script.calls(), ["authorize", "grant", "void", "void"]);
    assert_eq!(world.script.ids("void").len(), 1);
}

#[tokio::test]
async fn an_order_that_nothing_can_help_is_repeated_slowly_and_never_dropped() {
    let world = World::new(&[SHORT_WAIT, "--retry-base-ms=1", "--retry-max-ms=3600000"]).await;
    world.script.next("grant", Fault::Fail(Status::invalid_argument("no")));
    let shop = world.open().await;
    let order = shop.bought(&purchase("paid", "approve")).await;
    eventually("the arbiter was asked", async || !world.script.ids("grant").is_empty()).await;
    let asked = world.script.ids("grant");
    // What a repetition after a short pause would overtake.
    for number in 0..10 {
        let request = BuyRequest { customer_id: format!("customer-{number}"), ..purchase("free", "") };
        let order = shop.bought(&request).await;
        shop.until(&order.order_id, OrderState::Completed).await;
    }
    let times = world.script.seen().iter().filter(|seen| asked.contains(&seen.id)).count();
    assert_eq!(times, 1, "it waits for the longest pause");
    assert_eq!(shop.order(&order.order_id).await.unwrap().state(), OrderState::Pending);
    shop.stop().await.unwrap();
    let shop = world.open().await;
    shop.until(&order.order_id, OrderState::Completed).await;
    assert_eq!(world.provider.count(State::Captured), 1);
}

#[tokio::test]
async fn a_full_backlog_refuses_and_stores_nothing() {
    let world = World::new(&[SHORT_WAIT, "--max-backlog=1"]).await;
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let order = shop.bought(&request).await;
    let status = shop.buy(purchase("free", "")).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::QueueFull)));
    assert_eq!(metadata_of(&status, "limit").as_deref(), Some("1"));
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(stored::count(&world.database_file()).await, 1);
    assert_eq!(shop.bought(&request).await.order_id, order.order_id, "a repeat is no new order");
    world.script.set_arbiter_down(false);
    shop.until(&order.order_id, OrderState::Completed).await;
    eventually("there is room again", async || shop.buy(purchase("free", "")).await.is_ok()).await;
}

#[tokio::test]
async fn a_buyer_waits_no_longer_than_its_deadline() {
    let world = World::new(&["--buy-wait-ms=600000"]).await;
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    // Of which an eighth is left for the answer.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(4);
    let answer = deadline::scope(Some(deadline), shop.buy(purchase("paid", "approve"))).await;
    assert_eq!(answer.unwrap().order.unwrap().state(), OrderState::Pending);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_order_behind() {
    let world = World::new(&[]).await;
    let release = CancellationToken::new();
    world.script.next("authorize", Fault::Hold(release.clone()));
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    tokio::select! {
        _ = shop.buy(request.clone()) => panic!("the provider holds its answer back"),
        () = eventually("the provider was asked", async || !world.script.calls().is_empty()) => {}
    }
    release.cancel();
    eventually("the order is completed", async || world.provider.count(State::Captured) == 1).await;
    let again = shop.buy(request).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.order.unwrap().state(), OrderState::Completed);
}

#[tokio::test]
async fn connections_that_the_database_closes_are_replaced() {
    postgres::with_database(async |url| {
        let world = World::with_database(Some(url.clone()), &[]).await;
        let shop = world.open().await;
        shop.bought(&purchase("free", "")).await;
        stored::close_connections(&url).await;
        let request = purchase("paid", "approve");
        // The same request id settles what became of an attempt whose connection was gone.
        eventually("the purchase is completed", async || match shop.buy(request.clone()).await {
            Ok(answer) => answer.order.is_some_and(|order| order.state() == OrderState::Completed),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                false
            }
        })
        .await;
        assert_eq!(world.provider.count(State::Captured), 1);
        shop.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_step_that_takes_longer_than_other_calls_may_is_waited_for() {
    let world = World::new(&[SHORT_WAIT, "--dispatch-attempt-timeout-ms=100"]).await;
    let shop = world.open().await;
    for step in ["authorize", "grant", "capture"] {
        let release = CancellationToken::new();
        world.script.next(step, Fault::Hold(release.clone()));
        let request = BuyRequest { customer_id: step.to_owned(), ..purchase("paid", "approve") };
        let order = shop.bought(&request).await;
        eventually("the step is taken", async || world.script.calls().last() == Some(&step)).await;
        let taken = world.script.calls().len();
        let begun = Instant::now();
        eventually("another call would have been given up", async || {
            begun.elapsed() > Duration::from_millis(400) || world.script.calls().len() > taken
        })
        .await;
        assert_eq!(world.script.calls().len(), taken, "{step} is under way");
        release.cancel();
        shop.until(&order.order_id, OrderState::Completed).await;
    }
}
