//! The executable `gameshelf`: what a person does, and each service as a subcommand.

mod args;
mod clients;
mod commands;
mod exit;
mod output;
mod ports;
mod services;
mod up;

use std::process::ExitCode;

use mesh::environment::Environment;
use mimalloc::MiMalloc;

use crate::args::{Cli, Command, Common};
use crate::clients::{ClientOptions, Clients};
use crate::commands::{buy, grant, import, list, revoke, watch};
use crate::exit::Failure;

/// Much of what a request costs is memory that is taken and given back: this one is faster at it than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Cli { common, command } = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let done = match command {
        Command::Arbiter(service) => return service.run(),
        Command::Purchase(service) => return service.run(),
        Command::GameList(service) => return service.run(),
        Command::PaymentSandbox(service) => return service.run(),
        command => run_here(command, common),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(common.output),
    }
}

/// Runs a command that only calls services, or starts them: one thread is plenty.
fn run_here(command: Command, common: Common) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(Box::pin(run(command, common)));
    // A lookup of a name that is still under way must not hold the end up.
    runtime.shutdown_background();
    done
}

async fn run(command: Command, Common { port_base, output }: Common) -> Result<(), Failure> {
    let environment = Environment::system();
    let clients = |options: &ClientOptions| Clients::new(options.clone(), port_base, environment.clone());
    match command {
        Command::Up(options) => up::run(options, port_base, &environment, output).await,
        Command::Buy(options) => {
            let clients = clients(&options.client);
            buy::run(options, &clients, output).await
        }
        Command::List(options) => {
            let clients = clients(&options.client);
            list::run(options, &clients, output).await
        }
        Command::Grant(options) => {
            let clients = clients(&options.target.client);
            grant::run(options, &clients, output).await
        }
        Command::Revoke(options) => {
            let clients = clients(&options.target.client);
            revoke::run(options, &clients, output).await
        }
        Command::Watch(options) => {
            let clients = clients(&options.client);
            watch::run(options, &clients, output).await
        }
        Command::Import(options) => {
            let clients = clients(&options.client);
            import::run(options, &clients, output).await
        }
        Command::Arbiter(_) | Command::Purchase(_) | Command::GameList(_) | Command::PaymentSandbox(_) => {
            Ok(())
        }
    }
}
