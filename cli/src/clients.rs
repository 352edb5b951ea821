//! Where the services are, and clients of them through the mesh.

use clap::Args;
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::gamelist::v1::game_list_service_client::GameListServiceClient;
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use mesh::environment::Environment;
use mesh::outbound::{Address, Calls, Outbound, OutboundConfig, Streams};

use crate::exit::{Failure, Kind};
use crate::ports;

/// Where the services are, and how they are called.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mesh options")]
pub(crate) struct ClientOptions {
    /// Where the arbiter is, as host:port [default: 127.0.0.1 and the port base]
    #[arg(long, env = "GAMESHELF_ARBITER_ADDRESS", value_name = "ADDRESS")]
    arbiter_address: Option<Address>,
    /// Where purchase is, as host:port [default: 127.0.0.1 and the port base + 1]
    #[arg(long, env = "GAMESHELF_PURCHASE_ADDRESS", value_name = "ADDRESS")]
    purchase_address: Option<Address>,
    /// Where game-list is, as host:port [default: 127.0.0.1 and the port base + 2]
    #[arg(long, env = "GAMESHELF_GAME_LIST_ADDRESS", value_name = "ADDRESS")]
    game_list_address: Option<Address>,
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
        for (port, address) in [
            (ports::ARBITER, &options.arbiter_address),
            (ports::PURCHASE, &options.purchase_address),
            (ports::GAME_LIST, &options.game_list_address),
        ] {
            if let Some(address) = address {
                flags = format!("{flags} --{}-address {address}", port.name);
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

    fn outbound(&self, port: ports::Port, given: Option<&Address>) -> Result<Outbound, Failure> {
        let address = match given {
            Some(address) => address.clone(),
            None => port.on_loopback(self.port_base).to_string().parse().map_err(|error| {
                Failure::new(Kind::Defect, "ADDRESS", format!("the address of {}: {error}", port.name))
            })?,
        };
        Ok(Outbound::new(port.name, &address, &self.options.outbound, &self.environment))
    }
}
