//! The service as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use mesh::process::{Failure, ProcessConfig, run_service};
use purchase::Config;

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
        purchase::run(config, environment, listener, shutdown)
            .await
            .map_err(|error| Failure::classified(&error, error.is_misconfigured()))
    })
}
