//! What becomes of a purchase when nothing fails.

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::payment::v1::State;
use gameshelf::proto::purchase::v1::{BuyRequest, OrderState, Price};
use tonic::Code;

use crate::arbiter::token;
use crate::postgres;
use crate::shop::{World, purchase};
use crate::stored::Stored;

async fn a_purchase_is_completed(world: World) {
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let answer = shop.buy(request.clone()).await.unwrap();
    let order = answer.order.unwrap();
    assert!(!answer.replayed);
    assert_eq!(order.state(), OrderState::Completed);
    assert_eq!((order.revision, order.token.as_str()), (1, token(1).to_string().as_str()));
    assert_eq!(order.price, Some(Price { currency: "USD".into(), minor_units: 499 }));
    assert_eq!(order.catalog_hash.len(), 64);
    assert_eq!(order.payment_id, world.script.ids("authorize")[0]);
    assert!(order.create_time.is_some());
    assert_eq!(world.script.calls(), ["authorize", "grant", "capture"]);
    assert_eq!(world.provider.count(State::Captured), 1);
    assert!(world.arbiter.owns("ann", "paid"));

    assert_eq!(shop.order(&order.order_id).await.unwrap(), order);
    let again = shop.buy(request).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.order, Some(order));
    assert_eq!(world.script.calls().len(), 3, "a repeat has no effect");
    shop.stop().await.unwrap();
}

#[tokio::test]
async fn a_purchase_is_completed_on_sqlite() {
    a_purchase_is_completed(World::new(&[]).await).await;
}

#[tokio::test]
async fn a_purchase_is_completed_on_postgres() {
    postgres::with_database(async |url| {
        a_purchase_is_completed(World::with_database(Some(url), &[]).await).await;
    })
    .await;
}

#[tokio::test]
async fn every_step_is_on_disk_before_it_is_taken() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    shop.bought(&purchase("paid", "approve")).await;
    let stored: Vec<_> =
        world.script.seen().into_iter().map(|seen| (seen.call, seen.stored.expect("on disk"))).collect();
    let row = |state: &str, has_payment_token| Stored { state: state.to_owned(), has_payment_token };
    assert_eq!(
        stored,
        [
            ("authorize", row("created", true)),
            ("grant", row("authorized", false)),
            ("capture", row("granted", false)),
        ]
    );
}

#[tokio::test]
async fn a_game_of_price_0_is_granted_without_any_payment() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let order = shop.bought(&purchase("free", "")).await;
    assert_eq!(order.state(), OrderState::Completed);
    assert_eq!(order.payment_id, "");
    assert_eq!(order.price, Some(Price { currency: "USD".into(), minor_units: 0 }));
    assert_eq!(world.script.calls(), ["grant"]);
}

#[tokio::test]
async fn two_purchases_of_a_game_at_once_capture_once() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let (one, other) = (purchase("paid", "approve"), purchase("paid", "approve"));
    let (one, other) = tokio::join!(shop.buy(one), shop.buy(other));
    let refused = match (one, other) {
        (Ok(_), Err(status)) | (Err(status), Ok(_)) => status,
        other => panic!("one of two must be refused: {other:?}"),
    };
    assert_eq!(reason_of(&refused), Some(Reason::AlreadyOwned));
    assert_eq!(world.provider.count(State::Captured), 1);
    assert_eq!(world.provider.count(State::Voided), 1);
}

#[tokio::test]
async fn one_request_sent_many_times_at_once_is_one_purchase() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let buys = (0..8).map(|_| shop.buy(request.clone()));
    let answers = futures_util::future::join_all(buys).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.order == answers[0].order));
    assert_eq!(world.script.calls(), ["authorize", "grant", "capture"]);
}

#[tokio::test]
async fn a_request_id_stands_for_one_purchase() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    shop.bought(&request).await;
    let others = [
        BuyRequest { customer_id: "bob".into(), ..request.clone() },
        BuyRequest { game_id: "free".into(), ..request.clone() },
        BuyRequest { payment_token: "approve-2".into(), ..request.clone() },
        BuyRequest { payment_token: String::new(), ..request.clone() },
        BuyRequest {
            expected_price: Some(Price { currency: "USD".into(), minor_units: 1 }),
            ..request.clone()
        },
    ];
    for other in others {
        let status = shop.buy(other).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::InvalidArgument, Some(Reason::RequestIdReused))
        );
        assert_eq!(metadata_of(&status, "request_id"), Some(request.request_id.clone()));
    }
    assert_eq!(world.script.calls().len(), 3);
}

#[tokio::test]
async fn the_expected_price_is_accepted() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let expected_price = Some(Price { currency: "USD".into(), minor_units: 499 });
    let order = shop.bought(&BuyRequest { expected_price, ..purchase("paid", "approve") }).await;
    assert_eq!(order.state(), OrderState::Completed);
}
