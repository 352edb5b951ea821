//! What keeps the service from starting, and what it waits for.

use gameshelf::errors::{Reason, reason_of};
use purchase::RunError;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::shop::{Shop, World, eventually, purchase};

async fn health(shop: &Shop) -> Option<ServingStatus> {
    let request = HealthCheckRequest { service: "gameshelf.purchase.v1.PurchaseService".to_owned() };
    let answer = HealthClient::new(shop.calls.clone()).check(request).await;
    answer.ok().map(|answer| answer.into_inner().status())
}

#[tokio::test]
async fn a_wrong_catalogue_is_one_clear_error() {
    let world = World::new(&[]).await;
    let path = world.directory.path().join("catalog.csv");
    let wrong = format!("{}bad,Bad,sold,,,,\n", crate::shop::CATALOG);
    std::fs::write(&path, wrong).unwrap();
    let error = world.launch().await.end().await.unwrap_err();
    assert!(error.is_misconfigured());
    let text = error.to_string();
    assert!(text.contains("catalog.csv") && text.contains("line 5: status"), "{text}");
    std::fs::remove_file(&path).unwrap();
    let error = world.launch().await.end().await.unwrap_err();
    assert!(matches!(error, RunError::CatalogUnreadable { .. }), "{error}");
    assert!(!world.database_file().exists(), "nothing was made");
}

#[tokio::test]
async fn a_database_in_use_is_one_clear_error() {
    let world = World::new(&["--database-lock-wait-ms=0"]).await;
    let first = world.open().await;
    let error = world.launch().await.end().await.unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    first.stop().await.unwrap();
    world.open().await.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_schema_is_refused() {
    let world = World::new(&[]).await;
    world.open().await.stop().await.unwrap();
    let mut connection = SqliteConnectOptions::new().filename(world.database_file()).connect().await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET version = 99").execute(&mut connection).await.unwrap();
    drop(connection);
    let error = world.launch().await.end().await.unwrap_err();
    assert!(error.to_string().contains("schema version 99"), "{error}");
}

#[tokio::test]
async fn an_unreachable_database_is_waited_for() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::with_database(Some(format!("postgres://nobody@{nobody}/shop")), &[]).await;
    let shop = world.launch().await;
    eventually("the service answers", async || health(&shop).await.is_some()).await;
    assert_eq!(health(&shop).await, Some(ServingStatus::NotServing));
    let status = shop.buy(purchase("paid", "approve")).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::StoreUnavailable)));
    assert!(status.get_details_retry_info().is_some());
    shop.stop().await.unwrap();
}

#[tokio::test]
async fn an_open_service_is_healthy() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    assert_eq!(health(&shop).await, Some(ServingStatus::Serving));
}
