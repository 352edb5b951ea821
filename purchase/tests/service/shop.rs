//! The service under test with all that it needs, and a client of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use gameshelf::proto::purchase::v1::{BuyRequest, BuyResponse, GetOrderRequest, Order, OrderState};
use gameshelf::services;
use mesh::environment::Environment;
use mesh::outbound::{Address, Calls, Outbound, OutboundConfig};
use purchase::{Config, RunError, run};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::arbiter::Arbiter;
use crate::faults::{Script, Served, serve};
use crate::provider::Provider;
use crate::trace;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) const CATALOG: &str = "game_id,title,status,release_year,price_minor_units,currency,required_age\n\
    paid,Paid,listed,2019,499,USD,0\n\
    free,Free,listed,2019,0,USD,0\n\
    gone,Gone,delisted,,,,\n";

#[derive(Parser)]
#[command(args_override_self = true)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// The surroundings of a service: its files, its arbiter and its payment provider.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) script: Script,
    pub(crate) arbiter: Arbiter,
    pub(crate) provider: Provider,
    pub(crate) arbiter_served: Option<Served>,
    arbiter_port: u16,
    provider_served: Served,
    database_url: String,
    flags: Vec<String>,
}

impl World {
    /// With an embedded database. `flags` take the place of those of the surroundings.
    pub(crate) async fn new(flags: &[&str]) -> Self {
        Self::with_database(None, flags).await
    }

    /// With this database, or an embedded one.
    pub(crate) async fn with_database(url: Option<String>, flags: &[&str]) -> Self {
        trace::collector();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("catalog.csv"), CATALOG).unwrap();
        let file = directory.path().join("orders.sqlite");
        let script = if url.is_none() { Script::looking_into(file.clone()) } else { Script::default() };
        let (arbiter, provider) = (Arbiter::new(script.clone()), Provider::new(script.clone()));
        let arbiter_served = serve(services::ARBITER, arbiter.routes(), 0).await;
        Self {
            database_url: url.unwrap_or_else(|| format!("sqlite:{}", file.display())),
            provider_served: serve(services::PAYMENT, provider.routes(), 0).await,
            arbiter_port: arbiter_served.address.port(),
            arbiter_served: Some(arbiter_served),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            directory,
            script,
            arbiter,
            provider,
        }
    }

    pub(crate) fn database_file(&self) -> PathBuf {
        self.directory.path().join("orders.sqlite")
    }

    /// Where the arbiter listens.
    pub(crate) fn arbiter_address(&self) -> String {
        format!("127.0.0.1:{}", self.arbiter_port)
    }

    /// Makes the arbiter listen again, where it did.
    pub(crate) async fn serve_arbiter(&mut self) {
        self.arbiter_served = Some(serve(services::ARBITER, self.arbiter.routes(), self.arbiter_port).await);
    }

    pub(crate) fn config(&self) -> Config {
        let catalog = self.directory.path().join("catalog.csv");
        let mut arguments = vec![
            "purchase".to_owned(),
            format!("--catalog={}", catalog.display()),
            format!("--database-url={}", self.database_url),
            format!("--arbiter-address=http://127.0.0.1:{}", self.arbiter_port),
            format!("--payment-address=http://{}", self.provider_served.address),
            "--database-lock-wait-ms=20000".to_owned(),
            "--retry-base-ms=5".to_owned(),
            "--retry-max-ms=50".to_owned(),
            // The saga's own repetition is what is tested.
            "--outbound-attempts=1".to_owned(),
            // A slow machine must not look like an outage.
            "--outbound-timeout-ms=60000".to_owned(),
            "--outbound-attempt-timeout-ms=60000".to_owned(),
            "--statement-timeout-ms=60000".to_owned(),
            "--buy-wait-ms=30000".to_owned(),
        ];
        arguments.extend(self.flags.clone());
        Arguments::try_parse_from(arguments).expect("flags").config
    }

    /// Starts the service, without waiting for it.
    pub(crate) async fn launch(&self) -> Shop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(self.config(), Environment::system(), listener, stop.clone()));
        let config = OutboundConfig {
            attempts: 1,
            timeout_ms: 60_000,
            attempt_timeout_ms: 60_000,
            ..OutboundConfig::default()
        };
        let outbound = Outbound::new("purchase", &address, &config, &Environment::system());
        Shop { calls: outbound.calls(), stop, running }
    }

    /// Starts the service and waits until it serves.
    pub(crate) async fn open(&self) -> Shop {
        let shop = self.launch().await;
        eventually("the service serves", async || {
            let answer = shop.order(&Uuid::now_v7().to_string()).await;
            answer.is_err_and(|status| reason_of(&status) == Some(Reason::OrderUnknown))
        })
        .await;
        shop
    }
}

/// A running service and a client of it.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) calls: Calls,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

impl Shop {
    pub(crate) async fn buy(&self, request: BuyRequest) -> Result<BuyResponse, Status> {
        Ok(PurchaseServiceClient::new(self.calls.clone()).buy(request).await?.into_inner())
    }

    /// Buys, and gives the order as it is answered.
    pub(crate) async fn bought(&self, request: &BuyRequest) -> Order {
        self.buy(request.clone()).await.unwrap().order.unwrap()
    }

    pub(crate) async fn order(&self, order_id: &str) -> Result<Order, Status> {
        let request = GetOrderRequest { order_id: order_id.to_owned() };
        let answer = PurchaseServiceClient::new(self.calls.clone()).get_order(request).await?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// Waits until an order is in a state.
    pub(crate) async fn until(&self, order_id: &str, state: OrderState) -> Order {
        eventually("the order gets there", async || {
            self.order(order_id).await.is_ok_and(|order| order.state() == state)
        })
        .await;
        self.order(order_id).await.unwrap()
    }

    /// Ends the service as a signal does.
    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.stop.cancel();
        self.end().await
    }

    /// Waits for the service to end by itself.
    pub(crate) async fn end(self) -> Result<(), RunError> {
        tokio::time::timeout(PATIENCE, self.running).await.expect("the service ends").unwrap()
    }

    /// Drops the service in the middle of whatever it does.
    pub(crate) fn drop_it(self) {
        self.running.abort();
    }
}

/// A purchase under a new request id.
pub(crate) fn purchase(game_id: &str, payment_token: &str) -> BuyRequest {
    BuyRequest {
        request_id: Uuid::now_v7().to_string(),
        customer_id: "ann".to_owned(),
        game_id: game_id.to_owned(),
        payment_token: payment_token.to_owned(),
        expected_price: None,
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}
