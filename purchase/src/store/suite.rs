//! What every store must do. The same tests run against SQLite and PostgreSQL.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use database::{DatabaseConfig, OpenError};
use gameshelf::catalog::Price;
use gameshelf::ids::{OrderId, PaymentId, RequestId};

use super::SharedStore;
use crate::order::tests::{grant, order};
use crate::order::{ContentHash, Event, NotGranted, Order, Refusal, State, apply};

#[path = "../../tests/service/postgres.rs"]
mod postgres_database;

const AT: u64 = 1_700_000_000_500;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    database: DatabaseConfig,
}

async fn open(url: &str) -> Result<SharedStore, OpenError> {
    let Defaults { database } = Defaults::parse_from(["test"]);
    super::open(&url.parse().unwrap(), &database, Duration::from_secs(5)).await
}

/// Order number `number`, unlike every other.
fn numbered(number: u8, minor_units: i64) -> Order {
    let id = |kind: u8| RequestId::new_v7(AT + u64::from(number), [kind; 10]);
    let mut order = order(minor_units);
    order.order_id = OrderId::new_v7(AT + u64::from(number), [number; 10]);
    order.request_id = id(1);
    order.grant_request_id = id(2);
    order.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    if let Some(payment) = &mut order.payment {
        payment.payment_id = PaymentId::new_v7(AT + u64::from(number), [number; 10]);
        payment.capture_request_id = id(3);
        payment.void_request_id = id(4);
    }
    order
}

/// The order after these events, written one by one.
async fn advance(store: &SharedStore, order: &Order, events: &[Event]) -> Order {
    let mut order = order.clone();
    for event in events {
        order = apply(&order, event.clone()).unwrap();
        assert!(store.update(&order, AT).await.unwrap());
    }
    order
}

async fn an_order_is_read_back_in_every_state(store: SharedStore, _url: String) {
    let ways: [&[Event]; 7] = [
        &[],
        &[Event::Declined],
        &[Event::Authorized, Event::Granted(grant(7))],
        &[Event::Authorized, Event::Granted(grant(7)), Event::Captured],
        &[Event::Authorized, Event::NotGranted(NotGranted::AlreadyOwned, Some(grant(5)))],
        &[Event::Authorized, Event::NotGranted(NotGranted::AlreadyOwned, None), Event::Voided],
        &[Event::Authorized, Event::NotGranted(NotGranted::OutOfStock, Some(grant(5))), Event::Voided],
    ];
    for (number, events) in (1..).zip(ways) {
        let created = numbered(number, 499);
        assert!(store.insert(&created, AT).await.unwrap());
        let written = advance(&store, &created, events).await;
        assert_eq!(store.by_id(created.order_id).await.unwrap(), Some(written.clone()));
        assert_eq!(store.by_request(created.request_id).await.unwrap(), Some(written));
    }
    let none = numbered(99, 0);
    assert_eq!(store.by_id(none.order_id).await.unwrap(), None);
    assert_eq!(store.by_request(none.request_id).await.unwrap(), None);
}

async fn an_order_without_price_or_payment_is_read_back(store: SharedStore, _url: String) {
    let free = numbered(1, 0);
    let unknown = Order {
        price: None,
        traceparent: None,
        state: State::Refused(Refusal::GameUnknown),
        ..numbered(2, 0)
    };
    let price = Price { currency: "EUR".into(), minor_units: i64::MAX };
    let changed = Order {
        price: Some(price),
        state: State::Refused(Refusal::PriceChanged),
        content: ContentHash::from_bytes(vec![0xff; 32]),
        customer_id: "käufer 'one' \"two\" ; --".parse().unwrap(),
        ..numbered(3, 0)
    };
    for order in [free, unknown, changed] {
        assert!(store.insert(&order, AT).await.unwrap());
        assert_eq!(store.by_id(order.order_id).await.unwrap(), Some(order));
    }
}

async fn a_request_makes_one_order(store: SharedStore, _url: String) {
    let first = numbered(1, 499);
    let second = Order { request_id: first.request_id, ..numbered(2, 499) };
    assert!(store.insert(&first, AT).await.unwrap());
    assert!(!store.insert(&second, AT).await.unwrap());
    assert_eq!(store.by_id(second.order_id).await.unwrap(), None);
    assert_eq!(store.by_request(first.request_id).await.unwrap(), Some(first));
}

async fn one_of_many_inserts_of_a_request_succeeds(store: SharedStore, _url: String) {
    let request_id = numbered(0, 499).request_id;
    let inserts = (1..=16).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            store.insert(&Order { request_id, ..numbered(number, 499) }, AT).await.unwrap()
        })
    });
    let mut written = 0;
    for insert in inserts.collect::<Vec<_>>() {
        written += u32::from(insert.await.unwrap());
    }
    assert_eq!(written, 1);
}

async fn a_stale_writer_loses(store: SharedStore, _url: String) {
    let created = numbered(1, 499);
    assert!(store.insert(&created, AT).await.unwrap());
    let authorized = apply(&created, Event::Authorized).unwrap();
    let declined = apply(&created, Event::Declined).unwrap();
    assert!(store.update(&authorized, AT).await.unwrap());
    assert!(!store.update(&declined, AT).await.unwrap());
    assert!(!store.update(&authorized, AT).await.unwrap(), "nor does the same change twice");
    assert_eq!(store.by_id(created.order_id).await.unwrap(), Some(authorized));
    let unknown = apply(&numbered(2, 499), Event::Authorized).unwrap();
    assert!(!store.update(&unknown, AT).await.unwrap());
}

async fn unfinished_orders_are_found_in_pages(store: SharedStore, _url: String) {
    let orders: Vec<_> = (1..=9).map(|number| numbered(number, 499)).collect();
    for order in &orders {
        assert!(store.insert(order, AT).await.unwrap());
    }
    let refused = Order { state: State::Refused(Refusal::GameUnknown), ..numbered(10, 0) };
    assert!(store.insert(&refused, AT).await.unwrap());
    advance(&store, &orders[1], &[Event::Declined]).await;
    advance(&store, &orders[2], &[Event::Authorized]).await;
    advance(&store, &orders[3], &[Event::Authorized, Event::Granted(grant(1)), Event::Captured]).await;
    advance(&store, &orders[4], &[Event::Authorized, Event::NotGranted(NotGranted::AlreadyOwned, None)])
        .await;
    let mut found = Vec::new();
    loop {
        let page = store.unfinished(found.last().copied(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let expected: Vec<_> = [0, 2, 4, 5, 6, 7, 8].map(|index: usize| orders[index].order_id).to_vec();
    assert_eq!(found, expected);
}

async fn orders_outlive_the_store(store: SharedStore, url: String) {
    let order = numbered(1, 499);
    assert!(store.insert(&order, AT).await.unwrap());
    store.close().await;
    let store = open(&url).await.unwrap();
    assert_eq!(store.by_id(order.order_id).await.unwrap(), Some(order.clone()));
    assert_eq!(store.unfinished(None, 10).await.unwrap(), [order.order_id]);
    store.close().await;
}

async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(SharedStore, String) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(directory.path());
    let store = open(&url).await.unwrap();
    test(store.clone(), url).await;
    store.close().await;
}

fn sqlite_url(directory: &Path) -> String {
    format!("sqlite:{}", directory.join("new/orders.sqlite").display())
}

async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(SharedStore, String) -> F) {
    postgres_database::with_database(async |url: String| {
        let store = open(&url).await.unwrap();
        test(store.clone(), url).await;
        store.close().await;
    })
    .await;
}

macro_rules! suite {
    ($($test:ident)+) => {
        mod sqlite { $(
            #[tokio::test]
            async fn $test() { super::on_sqlite(super::$test).await; }
        )+ }
        mod postgres { $(
            #[tokio::test]
            async fn $test() { super::on_postgres(super::$test).await; }
        )+ }
    };
}

suite! {
    an_order_is_read_back_in_every_state
    an_order_without_price_or_payment_is_read_back
    a_request_makes_one_order
    one_of_many_inserts_of_a_request_succeeds
    a_stale_writer_loses
    unfinished_orders_are_found_in_pages
    orders_outlive_the_store
}

#[tokio::test]
async fn a_database_in_use_and_a_server_that_is_not_there_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(directory.path());
    let store = open(&url).await.unwrap();
    assert!(matches!(open(&url).await, Err(OpenError::Locked(_))));
    store.close().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let refused = open(&format!("postgres://user@{address}/shop")).await;
    assert!(refused.unwrap_err().is_transient());
}
