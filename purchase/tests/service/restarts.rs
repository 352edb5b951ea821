//! What becomes of unfinished orders when the service ends in the middle.

use gameshelf::proto::payment::v1::State;
use gameshelf::proto::purchase::v1::OrderState;
use tokio_util::sync::CancellationToken;

use crate::faults::Fault;
use crate::postgres;
use crate::shop::{Shop, World, eventually, purchase};

async fn an_order_is_finished_after_a_restart(world: World) {
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let order = shop.bought(&request).await;
    assert_eq!(order.state(), OrderState::Pending);
    shop.stop().await.unwrap();

    world.script.set_arbiter_down(false);
    let shop = world.open().await;
    let finished = shop.until(&order.order_id, OrderState::Completed).await;
    assert_eq!(finished.payment_id, order.payment_id);
    for step in ["authorize", "grant", "capture"] {
        assert_eq!(world.script.ids(step).len(), 1, "{step} has the same id after the restart");
    }
    assert_eq!(world.provider.count(State::Captured), 1);
    let again = shop.buy(request).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.order, Some(finished));
    shop.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_is_finished_after_a_restart_on_sqlite() {
    an_order_is_finished_after_a_restart(World::new(&["--buy-wait-ms=20"]).await).await;
}

#[tokio::test]
async fn an_order_is_finished_after_a_restart_on_postgres() {
    postgres::with_database(async |url| {
        let world = World::with_database(Some(url), &["--buy-wait-ms=20"]).await;
        an_order_is_finished_after_a_restart(world).await;
    })
    .await;
}

#[tokio::test]
async fn two_services_on_one_database_finish_an_order_once() {
    postgres::with_database(async |url| {
        let world = World::with_database(Some(url), &["--buy-wait-ms=0", "--scan-interval-ms=10"]).await;
        world.script.set_arbiter_down(true);
        let (one, other) = (world.open().await, world.open().await);
        let order = one.bought(&purchase("paid", "approve")).await;
        eventually("both ask the arbiter", async || world.script.calls().len() >= 8).await;
        world.script.set_arbiter_down(false);
        one.until(&order.order_id, OrderState::Completed).await;
        other.until(&order.order_id, OrderState::Completed).await;
        for step in ["authorize", "grant", "capture"] {
            assert_eq!(world.script.ids(step).len(), 1, "{step} has one id");
        }
        assert_eq!(world.provider.count(State::Captured), 1);
        one.stop().await.unwrap();
        other.stop().await.unwrap();
    })
    .await;
}

/// Holds a step's answer back, ends the service in the middle of the step, and starts it again.
async fn ended_in_the_middle_of(call: &'static str, end: impl AsyncFnOnce(Shop, CancellationToken)) {
    let world = World::new(&["--buy-wait-ms=20"]).await;
    let release = CancellationToken::new();
    world.script.next(call, Fault::Hold(release.clone()));
    let shop = world.open().await;
    let order = shop.bought(&purchase("paid", "approve")).await;
    eventually("the step is under way", async || world.script.calls().contains(&call)).await;
    end(shop, release).await;
    let shop = world.open().await;
    shop.until(&order.order_id, OrderState::Completed).await;
    for step in ["authorize", "grant", "capture"] {
        assert_eq!(world.script.ids(step).len(), 1, "{step} has one id");
    }
    assert_eq!(world.provider.count(State::Captured), 1);
    shop.stop().await.unwrap();
}

#[tokio::test]
async fn a_step_under_way_is_finished_before_the_service_stops() {
    for call in ["authorize", "grant", "capture"] {
        ended_in_the_middle_of(call, async |shop, release| {
            let (stopped, ()) = tokio::join!(shop.stop(), async { release.cancel() });
            stopped.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_service_that_is_dropped_leaves_every_order_to_the_next_start() {
    for call in ["authorize", "grant", "capture"] {
        ended_in_the_middle_of(call, async |shop, release| {
            shop.drop_it();
            release.cancel();
        })
        .await;
    }
}

#[tokio::test]
async fn a_backlog_is_worked_off_after_a_restart() {
    let world = World::new(&["--buy-wait-ms=0", "--worker-concurrency=4"]).await;
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    let buys = (0..40).map(|number| {
        let mut request = purchase("paid", "approve");
        request.customer_id = format!("customer-{number}");
        shop.buy(request)
    });
    let answers = futures_util::future::join_all(buys).await;
    for answer in answers {
        assert_eq!(answer.unwrap().order.unwrap().state(), OrderState::Pending);
    }
    shop.stop().await.unwrap();
    world.script.set_arbiter_down(false);
    let shop = world.open().await;
    eventually("all are captured", async || world.provider.count(State::Captured) == 40).await;
    shop.stop().await.unwrap();
}
