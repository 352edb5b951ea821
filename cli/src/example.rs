//! `gameshelf example`: what the mesh does for a service of several versions, seen while it does it.

mod children;
mod events;
mod game_list;
pub(crate) mod latest;
mod load;
mod log;
mod seen;
mod tickets;
mod tried;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mesh::environment::Environment;
use mesh::outbound::DispatchConfig;

use crate::clients::ClientOptions;
use crate::exit::Failure;
use crate::output::Output;
use crate::services;

/// The examples, and the services that they start.
#[derive(Debug, Subcommand)]
pub(crate) enum Example {
    Tickets(Box<tickets::Options>),
    GameList(Box<game_list::Options>),
    Latest(latest::Options),
    /// Runs the service of tickets in one version
    #[command(hide = true, mut_arg("listen", services::tickets_service_listen))]
    TicketsService(Box<services::TicketsService>),
    /// Runs the feed of the latest replies
    #[command(hide = true, mut_arg("listen", services::tickets_feed_listen))]
    TicketsFeed(Box<services::TicketsFeed>),
}

/// What the examples of two versions have in common.
#[derive(Args, Debug)]
struct Trial {
    /// Queries to make
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    queries: u32,
    /// The share of the queries, in percent, that 1.0.1 refuses
    #[arg(long, value_name = "PERCENT", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    fault_percent: u32,
    /// Queries at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Where databases and logs are kept [default: a directory that is taken away when all went well]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    dispatch: DispatchConfig,
}

impl Trial {
    /// How the examples call: an instance that is slow, as on a busy machine, is waited for as long as the caller waits. The last one
    /// that is left has no other to go on to, and what is shown is what becomes of refusals.
    fn dispatch(&self) -> DispatchConfig {
        DispatchConfig { attempt_timeout_ms: self.dispatch.outbound.timeout_ms, ..self.dispatch.clone() }
    }
}

impl Example {
    /// Where the services are that it calls; none where it starts them.
    pub(crate) fn client(&self) -> Option<&ClientOptions> {
        match self {
            Self::Latest(options) => Some(&options.client),
            Self::Tickets(_) | Self::GameList(_) | Self::TicketsService(_) | Self::TicketsFeed(_) => None,
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// When it could not be run, or did not show what it is to show.
    pub(crate) async fn run(self, environment: &Environment, output: Output) -> Result<(), Failure> {
        match self {
            Self::Tickets(options) => tickets::run(*options, environment, output).await,
            Self::GameList(options) => game_list::run(*options, environment, output).await,
            // A service runs as the whole process; what calls those that run already is called elsewhere.
            Self::Latest(_) | Self::TicketsService(_) | Self::TicketsFeed(_) => Ok(()),
        }
    }
}
