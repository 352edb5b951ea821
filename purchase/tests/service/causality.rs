//! A buyer has seen what the own order did to what customers own, and nothing else.

use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::purchase::v1::OrderState;
use mesh::causal::{self, Session};

use crate::arbiter::token;
use crate::shop::{World, purchase};

/// What a session has seen that saw one revision.
fn one(revision: u64) -> [causal::Token; 1] {
    [causal::Token { scope: token(revision).scope().into(), position: revision }]
}

#[tokio::test]
async fn the_answer_to_a_purchase_tells_of_its_grant_and_of_nothing_that_its_steps_saw() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    shop.bought(&purchase("free", "")).await;
    let request = purchase("paid", "approve");
    let (bought, repeated, asked) = (Session::new(), Session::new(), Session::new());
    let order = bought.run(shop.bought(&request)).await;
    repeated.run(shop.bought(&request)).await;
    asked.run(shop.order(&order.order_id)).await.unwrap();
    assert_eq!(order.revision, 2);
    for session in [bought, repeated, asked] {
        assert_eq!(session.tokens(), one(2));
    }
}

#[tokio::test]
async fn a_refused_buyer_has_seen_where_the_refusal_was_judged() {
    let world = World::new(&[]).await;
    world.arbiter.give("ann", "paid");
    let shop = world.open().await;
    let session = Session::new();
    let status = session.run(shop.buy(purchase("paid", "approve"))).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::AlreadyOwned));
    assert_eq!(session.tokens(), one(1));
}

#[tokio::test]
async fn an_order_without_a_grant_yet_has_seen_nothing() {
    let world = World::new(&["--buy-wait-ms=20"]).await;
    world.script.set_arbiter_down(true);
    let shop = world.open().await;
    let session = Session::new();
    let order = session.run(shop.bought(&purchase("paid", "approve"))).await;
    assert_eq!((order.state(), session.tokens()), (OrderState::Pending, vec![]));
    world.script.set_arbiter_down(false);
    let order = session.run(shop.until(&order.order_id, OrderState::Completed)).await;
    assert_eq!(session.tokens(), one(order.revision));
}
