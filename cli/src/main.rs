//! The executable `gameshelf`: what a person does, and each service as a subcommand.

mod args;
mod clients;
mod commands;
mod example;
mod exit;
mod output;
mod ports;
mod services;
mod survey;
mod up;

use std::process::ExitCode;

use mesh::environment::Environment;
use mimalloc::MiMalloc;

use crate::args::{Cli, Command, Common};
use crate::clients::Clients;
use crate::commands::{
    buy, check, commit, copies, export, grant, history, import, list, reservation, reserve, revoke, status,
    stock, transfer, watch, why,
};
use crate::example::Example;
use crate::exit::Failure;
use crate::output::Output;

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
        Command::Example(Example::TicketsService(service)) => return service.run(),
        Command::Example(Example::TicketsFeed(service)) => return service.run(),
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
    match (command.client().cloned(), command) {
        (Some(options), command) => {
            let clients = Clients::new(options, port_base, environment);
            call(command, &clients, output).await
        }
        (None, Command::Up(options)) => up::run(options, port_base, &environment, output).await,
        (None, Command::Example(example)) => example.run(&environment, output).await,
        // A service runs as the whole process.
        (None, _) => Ok(()),
    }
}

/// Runs a command that only calls services.
async fn call(command: Command, clients: &Clients, output: Output) -> Result<(), Failure> {
    match command {
        Command::Buy(options) => buy::run(options, clients, output).await,
        Command::List(options) => list::run(options, clients, output).await,
        Command::History(options) => history::run(options, clients, output).await,
        Command::Why(options) => why::run(options, clients, output).await,
        Command::Grant(options) => grant::run(options, clients, output).await,
        Command::Revoke(options) => revoke::run(options, clients, output).await,
        Command::Transfer(options) => transfer::run(options, clients, output).await,
        Command::Commit(options) => commit::run(options, clients, output).await,
        Command::Reserve(options) => reserve::run(options, clients, output).await,
        Command::Confirm(options) => reservation::confirm(options, clients, output).await,
        Command::Release(options) => reservation::release(options, clients, output).await,
        Command::Reservation(options) => reservation::run(options, clients, output).await,
        Command::Stock(options) => stock::run(options, clients, output).await,
        Command::Watch(options) => watch::run(options, clients, output).await,
        Command::Import(options) => import::run(options, clients, output).await,
        Command::Export(options) => export::run(options, clients, output).await,
        Command::Check(options) => check::run(options, clients, output).await,
        Command::Copies(options) => copies::run(options, clients, output).await,
        Command::Status(options) => status::run(options, clients, output).await,
        Command::Example(Example::Latest(options)) => example::latest::run(options, clients, output).await,
        // These call nobody who runs already: see `Command::client`.
        Command::Up(_)
        | Command::Example(_)
        | Command::Arbiter(_)
        | Command::Purchase(_)
        | Command::GameList(_)
        | Command::PaymentSandbox(_) => Ok(()),
    }
}
