//! One who calls a no-op through generated code, as a child process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use mesh::environment::Environment;
use mesh::outbound::discovery::StaticList;
use mesh::outbound::dispatch::Condition;
use mesh::outbound::{Calls, Dispatch, DispatchConfig};
use mesh::telemetry;
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, Endpoint};

use crate::load::{Caller, Measured, Slice, closed};
use crate::servers::{NOOP, Process, Runtime, Stack, grant};
use crate::work::{Job, Requests, Work, customer_name, game_name};

/// How long the instance may take to be known.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a caller is started as a child.
#[derive(clap::Args)]
pub(crate) struct CallerArguments {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, value_enum)]
    stack: Stack,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    warmup_ms: u64,
    #[arg(long)]
    measured_ms: u64,
}

/// What a caller saw.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answered {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// All calls, those of the warm-up too, and the processor time that the caller spent on them and on its start.
    pub(crate) calls: f64,
    pub(crate) cpu_seconds: f64,
}

/// Calls for as long as it is told, and prints what it saw.
pub(crate) fn call(arguments: &CallerArguments) -> anyhow::Result<()> {
    let slice = Slice {
        warmup: Duration::from_millis(arguments.warmup_ms),
        measured: Duration::from_millis(arguments.measured_ms),
    };
    let measured = Runtime::CurrentThread.build()?.block_on(async {
        let client = Client::open(arguments).await?;
        let requests = Requests::new(Job::new(Work::Grant, arguments.in_flight));
        let one = || One { client: client.clone(), requests: requests.another() };
        closed((0..arguments.in_flight).map(|_| one()).collect(), slice).await
    })?;
    println!("{}", serde_json::to_string(&answered(&measured)?)?);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures need no more than 52 bits")]
fn answered(measured: &Measured) -> anyhow::Result<Answered> {
    Ok(Answered {
        per_second: measured.per_second(),
        p50_us: measured.latency_us.value_at_quantile(0.5) as f64,
        p99_us: measured.latency_us.value_at_quantile(0.99) as f64,
        calls: measured.calls as f64,
        cpu_seconds: Process::this("caller").usage()?.cpu_seconds,
    })
}

#[derive(Clone)]
enum Client {
    Bare(ArbiterServiceClient<Channel>),
    Mesh(ArbiterServiceClient<Calls>),
}

impl Client {
    async fn open(arguments: &CallerArguments) -> anyhow::Result<Self> {
        let url = format!("http://{}", arguments.address);
        if arguments.stack == Stack::Bare {
            #[expect(clippy::disallowed_methods, reason = "the rival is a channel of tonic alone")]
            let channel = Endpoint::new(url)?.tcp_nodelay(true).connect().await?;
            return Ok(Self::Bare(ArbiterServiceClient::new(channel)));
        }
        // Exports where the environment says so, as in a service, until the process ends.
        std::mem::forget(telemetry::init("caller")?);
        let list = StaticList::new([url.parse().context("the address of the no-op")?]);
        let environment = Environment::system();
        let config = DispatchConfig::default();
        let dispatch = Dispatch::new(NOOP, &"^1.0".parse()?, &list, &config, &environment);
        let is_known = dispatch
            .wait_for(TIMEOUT, |all| all.iter().any(|one| matches!(one.condition, Condition::Serving(_))))
            .await;
        ensure!(is_known, "the no-op does not say what it is: {:?}", dispatch.instances());
        Ok(Self::Mesh(ArbiterServiceClient::new(dispatch.calls())))
    }
}

struct One {
    client: Client,
    requests: Requests,
}

impl Caller for One {
    async fn call(&mut self) -> anyhow::Result<()> {
        let request = self.requests.next();
        let customer = customer_name(Work::Grant.customer_prefix(), request.customer);
        let request = grant(request.id.to_string(), customer, vec![game_name(request.game)]);
        match &mut self.client {
            Client::Bare(client) => client.grant(request).await?,
            Client::Mesh(client) => client.grant(request).await?,
        };
        Ok(())
    }
}
