//! What the mesh looks like now: every instance that is known is asked how it is, what it is, and what it has seen.

mod ask;
mod edges;

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use futures_util::future::join_all;
use mesh::outbound::Address;
use mesh::outbound::discovery::{DiscoveryConfig, Source};
use mesh::proto::v1;

pub(crate) use edges::{CallSum, EdgeSum, edges};

use crate::clients::Clients;
use crate::exit::{Failure, Kind};

/// The instances of one service that are asked.
const MAX_INSTANCES: usize = 64;

/// How the services are asked.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AskOptions {
    /// Time for one answer of an instance, after which it counts as one that cannot be reached
    #[arg(long, value_name = "MS", env = "GAMESHELF_ASK_TIMEOUT_MS", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) ask_timeout_ms: u64,
}

/// How an instance is, as it says by the standard protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Serving,
    NotServing,
    /// It answers, and does not say.
    Unknown,
    Unreachable,
}

impl Health {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
        }
    }
}

/// One instance, and what it answered.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// What it says it is; where it says nothing, what it is looked for as.
    pub(crate) service: String,
    /// Where it is; where none was found, where they were looked for.
    pub(crate) address: String,
    pub(crate) health: Health,
    pub(crate) description: Option<v1::DescribeResponse>,
    pub(crate) report: Option<v1::ReportResponse>,
}

impl Instance {
    /// One of which nothing is known but that it does not answer.
    pub(crate) fn unreachable(service: &str, address: String) -> Self {
        let (service, health) = (service.to_owned(), Health::Unreachable);
        Self { service, address, health, description: None, report: None }
    }
}

/// Asks every instance of every service, all at once.
///
/// # Errors
///
/// A file of addresses that cannot be used.
pub(crate) async fn survey(clients: &Clients, options: AskOptions) -> Result<Vec<Instance>, Failure> {
    let mut asked = Vec::new();
    for (service, source) in clients.sources()? {
        asked.push(instances(service, source, clients, options));
    }
    let found: Result<Vec<_>, Failure> = join_all(asked).await.into_iter().collect();
    Ok(found?.concat())
}

async fn instances(
    service: &'static str,
    source: Source,
    clients: &Clients,
    options: AskOptions,
) -> Result<Vec<Instance>, Failure> {
    let addresses = find(service, &source, clients, options).await?;
    if addresses.is_empty() {
        return Ok(vec![Instance::unreachable(service, source.to_string())]);
    }
    let asked = addresses.iter().map(|address| ask::ask(service, address, clients, options.ask_timeout_ms));
    Ok(join_all(asked).await)
}

/// The addresses that a source has now; none where they are not found in time.
async fn find(
    service: &str,
    source: &Source,
    clients: &Clients,
    options: AskOptions,
) -> Result<Vec<Address>, Failure> {
    let unusable = |what: String| {
        let message = format!("--{service}-address {source}: {what}");
        Failure::new(Kind::BadInput, "ADDRESS", message)
    };
    let config = DiscoveryConfig::default();
    let discovery = source.open(&config, clients.environment()).await;
    let discovery = discovery.map_err(|error| unusable(error.to_string()))?;
    let mut sets = discovery.endpoints();
    let first = tokio::time::timeout(Duration::from_millis(options.ask_timeout_ms), sets.next()).await;
    let addresses: Vec<Address> = match first {
        Ok(Some(set)) => set.iter().cloned().collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    if addresses.len() > MAX_INSTANCES {
        let found = addresses.len();
        return Err(unusable(format!(
            "{found} instances, and at most {MAX_INSTANCES} of a service are asked"
        )));
    }
    Ok(addresses)
}
