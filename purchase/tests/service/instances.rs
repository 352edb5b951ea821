//! The instances of the services that purchase calls.

use gameshelf::proto::purchase::v1::OrderState;
use purchase::RunError;

use crate::shop::{World, eventually, purchase};

#[tokio::test]
async fn instances_come_from_a_file_and_one_that_is_gone_fails_no_order() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let flag = format!("--arbiter-address=file:{}", file.path().display());
    let world = World::new(&[&flag]).await;
    // Nobody listens on port 1.
    std::fs::write(file.path(), format!("127.0.0.1:1\n{}\n", world.arbiter_address())).unwrap();
    let shop = world.open().await;
    let order = shop.bought(&purchase("paid", "approve")).await;
    assert_eq!(order.state(), OrderState::Completed);
    assert_eq!(world.script.calls(), ["authorize", "grant", "capture"]);
}

#[tokio::test]
async fn a_file_of_instances_that_cannot_be_read_is_one_clear_error() {
    let world = World::new(&["--payment-address=file:/nowhere/instances"]).await;
    let error = world.launch().await.end().await.unwrap_err();
    assert!(matches!(error, RunError::Addresses(_)) && error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("/nowhere/instances cannot be read"), "{error}");
}

#[tokio::test]
async fn an_arbiter_of_another_version_is_asked_nothing_and_the_order_stays_pending() {
    let world = World::new(&["--arbiter-requires=^99.0", "--buy-wait-ms=20"]).await;
    let shop = world.open().await;
    let request = purchase("paid", "approve");
    let order = shop.bought(&request).await;
    eventually("the payment is authorized", async || !world.script.ids("authorize").is_empty()).await;
    // Another order is as far by then.
    let other = shop.bought(&purchase("free", "")).await;
    for order_id in [&order.order_id, &other.order_id] {
        assert_eq!(shop.order(order_id).await.unwrap().state(), OrderState::Pending);
    }
    assert_eq!(world.script.ids("grant"), Vec::<String>::new());
}
