//! What is refused, and how that is told.

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::payment::v1::State;
use gameshelf::proto::purchase::v1::{BuyRequest, OrderState, Price};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::shop::{Shop, World, purchase};

/// A refusal, and the same again for the repeat; both with all that a program needs.
async fn refused(shop: &Shop, request: BuyRequest, reason: Reason) -> Status {
    let first = shop.buy(request.clone()).await.unwrap_err();
    let again = shop.buy(request.clone()).await.unwrap_err();
    for (status, replayed) in [(&first, "false"), (&again, "true")] {
        assert_eq!((status.code(), reason_of(status)), (Code::FailedPrecondition, Some(reason)));
        let metadata = |key| metadata_of(status, key).unwrap_or_default();
        assert_eq!(metadata("customer_id"), request.customer_id);
        assert_eq!(metadata("game_id"), request.game_id);
        assert_eq!(metadata("replayed"), replayed);
        assert_eq!(metadata("order_id"), metadata_of(&first, "order_id").unwrap());
        assert_eq!(metadata("catalog_hash").len(), 64);
    }
    let order = shop.order(&metadata_of(&first, "order_id").unwrap()).await.unwrap();
    assert_eq!(order.state(), OrderState::Refused);
    assert_eq!(order.refusal_reason, reason.as_str());
    first
}

#[tokio::test]
async fn a_game_that_is_not_sold_is_refused_before_anybody_is_asked() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    refused(&shop, purchase("none", "approve"), Reason::GameUnknown).await;
    refused(&shop, purchase("gone", "approve"), Reason::GameDelisted).await;
    let expected_price = Some(Price { currency: "USD".into(), minor_units: 498 });
    let request = BuyRequest { expected_price, ..purchase("paid", "approve") };
    let status = refused(&shop, request, Reason::PriceChanged).await;
    assert_eq!(metadata_of(&status, "currency").as_deref(), Some("USD"));
    assert_eq!(metadata_of(&status, "price_minor_units").as_deref(), Some("499"));
    assert!(world.script.calls().is_empty());
}

#[tokio::test]
async fn a_declined_payment_grants_nothing() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    refused(&shop, purchase("paid", "decline"), Reason::PaymentDeclined).await;
    assert_eq!(world.script.calls(), ["authorize"]);
    assert!(!world.arbiter.owns("ann", "paid"));
}

#[tokio::test]
async fn a_game_that_is_owned_already_is_voided_and_not_captured() {
    let world = World::new(&[]).await;
    world.arbiter.give("ann", "paid");
    let shop = world.open().await;
    let status = refused(&shop, purchase("paid", "approve"), Reason::AlreadyOwned).await;
    assert_eq!(metadata_of(&status, "revision").as_deref(), Some("1"));
    assert_eq!(world.script.calls(), ["authorize", "grant", "void"]);
    assert_eq!(world.provider.count(State::Captured), 0);
    assert_eq!(world.provider.count(State::Voided), 1);
    world.arbiter.give("ann", "free");
    refused(&shop, purchase("free", ""), Reason::AlreadyOwned).await;
}

#[tokio::test]
async fn a_game_that_is_sold_out_is_voided_and_not_captured() {
    let world = World::new(&[]).await;
    world.arbiter.sell_out("paid");
    world.arbiter.sell_out("free");
    let shop = world.open().await;
    let status = refused(&shop, purchase("paid", "approve"), Reason::OutOfStock).await;
    assert_eq!(metadata_of(&status, "revision").as_deref(), Some("0"));
    assert_eq!(world.script.calls(), ["authorize", "grant", "void"]);
    assert_eq!(world.provider.count(State::Captured), 0);
    assert_eq!(world.provider.count(State::Voided), 1);
    refused(&shop, purchase("free", ""), Reason::OutOfStock).await;
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let named = async |request: BuyRequest| -> Vec<String> {
        let status = shop.buy(request).await.unwrap_err();
        assert_eq!((status.code(), reason_of(&status)), (Code::InvalidArgument, Some(Reason::InvalidFields)));
        let request = status.get_details_bad_request().expect("details");
        request.field_violations.into_iter().map(|violation| violation.field).collect()
    };
    let request = BuyRequest {
        request_id: "no".into(),
        customer_id: "c".repeat(65),
        game_id: "No Slug".into(),
        payment_token: "line\nbreak".into(),
        expected_price: Some(Price { currency: "dollars".into(), minor_units: -1 }),
    };
    let all = [
        "request_id",
        "customer_id",
        "game_id",
        "payment_token",
        "expected_price.currency",
        "expected_price.minor_units",
    ];
    assert_eq!(named(request).await, all);
    assert_eq!(named(purchase("paid", "")).await, ["payment_token"]);
    assert_eq!(named(BuyRequest::default()).await, ["request_id", "customer_id", "game_id"]);
    let status = shop.order("no").await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::InvalidFields));
    let status = shop.order(&uuid::Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::NotFound, Some(Reason::OrderUnknown)));
    assert!(world.script.calls().is_empty());
}
