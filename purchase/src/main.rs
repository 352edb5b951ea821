//! The service as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use mesh::process::{EXIT_CONFIGURATION, Failure, ProcessConfig, run_service};
use purchase::{Config, run};

/// Sells games.
#[derive(Parser)]
#[command(name = "purchase", version)]
#[command(mut_arg("listen", |arg| ProcessConfig::listen(arg, "GAMESHELF_PURCHASE_LISTEN", "127.0.0.1:7401")))]
struct Arguments {
    #[command(flatten)]
    process: ProcessConfig,
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { process, config } = Arguments::parse();
    run_service("purchase", &process, async |environment, listener, shutdown| {
        run(config, environment, listener, shutdown).await.map_err(|error| {
            if error.is_bad_input() { Failure::new(error, EXIT_CONFIGURATION) } else { error.into() }
        })
    })
}
