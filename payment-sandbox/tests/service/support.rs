//! A sandbox that runs inside the test, and what tests say to it.

use std::path::Path;

use clap::Parser;
use gameshelf::proto::payment::v1::payment_service_client::PaymentServiceClient;
use gameshelf::proto::payment::v1::{AuthorizeRequest, CaptureRequest, Money, RefundRequest, VoidRequest};
use mesh::environment::Environment;
use mesh::outbound::{Address, Calls, Outbound, OutboundConfig};
use payment_sandbox::{Config, RunError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

pub(crate) struct Sandbox {
    pub(crate) client: PaymentServiceClient<Calls>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Sandbox {
    /// Starts one on the books in `directory`.
    pub(crate) async fn start(directory: &Path, flags: &[&str]) -> Self {
        let url = format!("--database-url=sqlite:{}", directory.join("books.sqlite").display());
        let flags = ["payment-sandbox", &url].into_iter().chain(flags.iter().copied());
        let config = Arguments::try_parse_from(flags).unwrap().config;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let (environment, shutdown) = (Environment::system(), CancellationToken::new());
        // A lost answer is for the test to see, so nothing is retried.
        let outbound = OutboundConfig { attempts: 1, ..OutboundConfig::default() };
        let outbound = Outbound::new("payment", &address, &outbound, &environment);
        let task = tokio::spawn(payment_sandbox::run(config, environment, listener, shutdown.clone()));
        Self { client: PaymentServiceClient::new(outbound.calls()), shutdown, task }
    }

    /// Ends it, and lets the books go.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.ended().await.unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        self.task.await.unwrap()
    }
}

/// A UUID for the test, told apart by its number.
pub(crate) fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

pub(crate) fn authorize(payment: u128, token: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        payment_id: id(payment),
        payment_token: token.to_owned(),
        amount: Some(Money { currency: "USD".to_owned(), minor_units: 499 }),
        order_id: "order-1".to_owned(),
    }
}

pub(crate) fn capture(request: u128, payment: u128) -> CaptureRequest {
    CaptureRequest { request_id: id(request), payment_id: id(payment) }
}

pub(crate) fn void(request: u128, payment: u128) -> VoidRequest {
    VoidRequest { request_id: id(request), payment_id: id(payment) }
}

pub(crate) fn refund(request: u128, payment: u128) -> RefundRequest {
    RefundRequest { request_id: id(request), payment_id: id(payment) }
}
