//! What becomes of an order when its writing is cut off, or is not acknowledged.

use std::pin::pin;

use async_trait::async_trait;
use clap::Parser;
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::Config;
use crate::clients::Clients;
use crate::order::PaymentToken;
use crate::saga::{self, Parts};
use crate::store::{self, Store};

/// A store whose inserts wait for a permit, and may lose their answer.
#[derive(Debug)]
struct Gate {
    store: SharedStore,
    begun: Notify,
    permits: Semaphore,
    loses_answers: bool,
}

#[async_trait]
impl Store for Gate {
    async fn insert(&self, order: &Order, at_unix_ms: u64) -> Result<bool, StoreError> {
        self.begun.notify_one();
        let _permit = self.permits.acquire().await;
        let written = self.store.insert(order, at_unix_ms).await;
        if self.loses_answers { Err(StoreError::Unknown("lost".into())) } else { written }
    }

    async fn update(&self, order: &Order, at_unix_ms: u64) -> Result<bool, StoreError> {
        self.store.update(order, at_unix_ms).await
    }

    async fn by_id(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
        self.store.by_id(order_id).await
    }

    async fn by_request(&self, request_id: RequestId) -> Result<Option<Order>, StoreError> {
        self.store.by_request(request_id).await
    }

    async fn unfinished(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<OrderId>, StoreError> {
        self.store.unfinished(after, limit).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

struct Bench {
    gate: Arc<Gate>,
    purchases: Purchases,
    _tasks: tokio::task::JoinSet<()>,
    _directory: TempDir,
}

impl Bench {
    /// With room for one unfinished order, and nobody who would finish it or find it by a search.
    async fn new(loses_answers: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("--database-url=sqlite:{}", directory.path().join("orders.sqlite").display());
        let nobody = ["--arbiter-address=127.0.0.1:1", "--payment-address=127.0.0.1:1"];
        let flags = ["test", "--catalog=none", "--max-backlog=1", &url, nobody[0], nobody[1]];
        let config = Arguments::try_parse_from(flags).expect("flags").config;
        let store =
            store::open(&config.database_url, &config.database, config.statement_timeout()).await.unwrap();
        let gate = Gate { store, begun: Notify::new(), permits: Semaphore::new(0), loses_answers };
        let gate = Arc::new(gate);
        let environment = Environment::system();
        let parts = Parts {
            store: gate.clone(),
            clients: Clients::new(&config, &environment).await.unwrap(),
            environment: environment.clone(),
            metrics: Metrics::new(),
        };
        let (saga, tasks) = saga::start(parts, &config, CancellationToken::new()).await;
        let file = "game_id,title,status,release_year,price_minor_units,currency,required_age\n\
            paid,Paid,listed,2019,499,USD,0\n";
        let catalog = Arc::new(Catalog::parse(file.as_bytes()).unwrap());
        let purchases =
            Purchases { store: gate.clone(), saga, catalog, environment, metrics: Metrics::new() };
        Self { gate, purchases, _tasks: tasks, _directory: directory }
    }

    async fn eventually_on_disk(&self, purchase: &Purchase) {
        let search = async {
            while self.gate.by_request(purchase.request_id).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), search).await.expect("the order is written");
    }
}

fn purchase() -> Purchase {
    Purchase {
        request_id: RequestId::new_v7(1_700_000_000_000, [7; 10]),
        customer_id: "ann".parse().unwrap(),
        game_id: "paid".parse().unwrap(),
        payment_token: Some(PaymentToken::new("approve".into())),
        expected_price: None,
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_while_the_order_is_written_leaves_it_to_the_saga() {
    let bench = Bench::new(false).await;
    {
        let mut buying = pin!(bench.purchases.buy(purchase(), Duration::ZERO));
        tokio::select! {
            _ = &mut buying => panic!("the gate is closed"),
            () = bench.gate.begun.notified() => {}
        }
    }
    bench.gate.permits.add_permits(1);
    bench.eventually_on_disk(&purchase()).await;
    assert!(bench.purchases.saga.reserve().is_err(), "the order has its place among the unfinished ones");
}

#[tokio::test]
async fn an_order_that_was_perhaps_written_is_looked_for() {
    let bench = Bench::new(true).await;
    bench.gate.permits.add_permits(1);
    let error = bench.purchases.buy(purchase(), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, BuyError::Store(StoreError::Unknown(_))), "{error}");
    bench.eventually_on_disk(&purchase()).await;
    assert!(bench.purchases.saga.reserve().is_err(), "the order has its place among the unfinished ones");
}
