//! The payment sandbox as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use mesh::process::{Failure, ProcessConfig, run_service};

/// A payment provider for trying and testing, which keeps its books on disk
#[derive(Parser)]
#[command(version)]
#[command(mut_arg("listen", |arg| {
    ProcessConfig::listen(arg, "GAMESHELF_PAYMENT_SANDBOX_LISTEN", "127.0.0.1:7403")
}))]
struct Arguments {
    #[command(flatten)]
    process: ProcessConfig,
    #[command(flatten)]
    config: payment_sandbox::Config,
}

fn main() -> ExitCode {
    let Arguments { process, config } = Arguments::parse();
    run_service("payment-sandbox", &process, async |environment, listener, shutdown| {
        payment_sandbox::run(config, environment, listener, shutdown)
            .await
            .map_err(|error| Failure::classified(&error, error.is_misconfigured()))
    })
}
