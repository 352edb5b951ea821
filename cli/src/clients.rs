//! Where the services are, and clients of them through the mesh.

use clap::Args;
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::gamelist::v1::game_list_service_client::GameListServiceClient;
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use gameshelf::services;
use mesh::environment::Environment;
use mesh::outbound::discovery::Source;
use mesh::outbound::{Address, Calls, Outbound, OutboundConfig, Streams};

use crate::exit::{Failure, Kind};
use crate::ports;

/// Where the services are, and how they are called. Each may have several instances: `host:port,host:port`, `file:/path` or
/// `dns:host:port`. `status` and `check` ask all of them; the other commands call one.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mesh options")]
pub(crate) struct ClientOptions {
    /// Where the arbiter is, as host:port, or several [default: 127.0.0.1 and the port base]
    #[arg(long, env = "GAMESHELF_ARBITER_ADDRESS", value_name = "ADDRESS")]
    arbiter_address: Option<Source>,
    /// Where purchase is, as host:port, or several [default: 127.0.0.1 and the port base + 1]
    #[arg(long, env = "GAMESHELF_PURCHASE_ADDRESS", value_name = "ADDRESS")]
    purchase_address: Option<Source>,
    /// Where game-list is, as host:port, or several [default: 127.0.0.1 and the port base + 2]
    #[arg(long, env = "GAMESHELF_GAME_LIST_ADDRESS", value_name = "ADDRESS")]
    game_list_address: Option<Source>,
    /// Where payment is, as host:port; only `status` and `check` ask it [default: 127.0.0.1 and the port base + 3]
    #[arg(long, env = "GAMESHELF_PAYMENT_ADDRESS", value_name = "ADDRESS")]
    payment_address: Option<Source>,
    #[command(flatten)]
    outbound: OutboundConfig,
}

/// Makes clients. Connections are made when they are first used.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    options: ClientOptions,
    port_base: u16,
    environment: Environment,
}

impl Clients {
    pub(crate) fn new(options: ClientOptions, port_base: u16, environment: Environment) -> Self {
        Self { options, port_base, environment }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The options that lead another command to the same mesh, each with a space before it; nothing for the defaults.
    pub(crate) fn mesh_flags(&self) -> String {
        let mut flags = String::new();
        if self.port_base != ports::DEFAULT_BASE {
            flags = format!(" --port-base {}", self.port_base);
        }
        let options = &self.options;
        for (name, _, address) in options.services() {
            if let Some(address) = address {
                flags = format!("{flags} --{name}-address {address}");
            }
        }
        flags
    }

    /// A new request id: made before the request is sent, and the same in every try.
    pub(crate) fn new_request_id(&self) -> RequestId {
        RequestId::new_v7(self.environment.clock.unix_ms(), self.environment.random.bytes10())
    }

    pub(crate) fn arbiter(&self) -> Result<ArbiterServiceClient<Calls>, Failure> {
        Ok(ArbiterServiceClient::new(self.arbiter_outbound()?.calls()))
    }

    /// The arbiter for a stream that has no end: it has no deadline in all.
    pub(crate) fn arbiter_streams(&self) -> Result<ArbiterServiceClient<Streams>, Failure> {
        Ok(ArbiterServiceClient::new(self.arbiter_outbound()?.streams()))
    }

    pub(crate) fn purchase(&self) -> Result<PurchaseServiceClient<Calls>, Failure> {
        let outbound = self.outbound(ports::PURCHASE, self.options.purchase_address.as_ref())?;
        Ok(PurchaseServiceClient::new(outbound.calls()))
    }

    pub(crate) fn game_list(&self) -> Result<GameListServiceClient<Calls>, Failure> {
        let outbound = self.outbound(ports::GAME_LIST, self.options.game_list_address.as_ref())?;
        Ok(GameListServiceClient::new(outbound.calls()))
    }

    /// game-list for a stream that has no end: it has no deadline in all.
    pub(crate) fn game_list_streams(&self) -> Result<GameListServiceClient<Streams>, Failure> {
        let outbound = self.outbound(ports::GAME_LIST, self.options.game_list_address.as_ref())?;
        Ok(GameListServiceClient::new(outbound.streams()))
    }

    fn arbiter_outbound(&self) -> Result<Outbound, Failure> {
        self.outbound(ports::ARBITER, self.options.arbiter_address.as_ref())
    }

    fn outbound(&self, port: ports::Port, given: Option<&Source>) -> Result<Outbound, Failure> {
        let address = match given {
            Some(source) => one_of(port, source)?,
            None => self.on_loopback(port)?,
        };
        Ok(Outbound::new(port.name, &address, &self.options.outbound, &self.environment))
    }

    fn on_loopback(&self, port: ports::Port) -> Result<Address, Failure> {
        port.on_loopback(self.port_base).to_string().parse().map_err(|error| {
            Failure::new(Kind::Defect, "ADDRESS", format!("the address of {}: {error}", port.name))
        })
    }

    /// Each service by its name, and where its instances are found.
    pub(crate) fn sources(&self) -> Result<Vec<(&'static str, Source)>, Failure> {
        let source = |(name, port, given): (_, ports::Port, &Option<Source>)| {
            let source = given.clone().map_or_else(|| Ok(Source::List(vec![self.on_loopback(port)?])), Ok);
            source.map(|source| (name, source))
        };
        self.options.services().into_iter().map(source).collect()
    }

    /// A client of one instance, which is asked once and not for longer than this.
    pub(crate) fn instance(&self, service: &str, address: &Address, timeout_ms: u64) -> Outbound {
        let config = OutboundConfig {
            timeout_ms,
            attempt_timeout_ms: timeout_ms,
            connect_timeout_ms: timeout_ms,
            attempts: 1,
            ..self.options.outbound.clone()
        };
        Outbound::new(service, address, &config, &self.environment)
    }
}

impl ClientOptions {
    fn services(&self) -> [(&'static str, ports::Port, &Option<Source>); 4] {
        [
            (services::ARBITER, ports::ARBITER, &self.arbiter_address),
            (services::PURCHASE, ports::PURCHASE, &self.purchase_address),
            (services::GAME_LIST, ports::GAME_LIST, &self.game_list_address),
            (services::PAYMENT, ports::PAYMENT_SANDBOX, &self.payment_address),
        ]
    }
}

/// The one instance that is called by a command which calls one.
fn one_of(port: ports::Port, source: &Source) -> Result<Address, Failure> {
    match source {
        Source::List(addresses) => addresses.first().cloned(),
        // The name leads to one of them.
        Source::Dns(name) => Some(name.clone()),
        Source::File(_) => None,
    }
    .ok_or_else(|| {
        let message = format!("--{}-address {source}: this command calls one instance", port.name);
        Failure::new(Kind::BadInput, "ADDRESS", message).hint("say where it is, as host:port")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_calls_one_instance_takes_the_first_or_the_name() {
        let one = |text: &str| one_of(ports::ARBITER, &text.parse().unwrap());
        assert_eq!(one("a:1,b:2").unwrap(), "a:1".parse().unwrap());
        assert_eq!(one("dns:a:1").unwrap(), "a:1".parse().unwrap());
        assert_eq!(one("file:/tmp/a").unwrap_err().kind(), Kind::BadInput);
    }
}
