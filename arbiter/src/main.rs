//! The arbiter as a process of its own, for an image of its own.

use std::process::ExitCode;

use arbiter::Config;
use clap::Parser;
use mesh::process::{Failure, ProcessConfig, run_service};
use mimalloc::MiMalloc;

/// Much of what a request costs is memory that is taken and given back: this one is faster at it than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The only way to the data that says which customer owns which game.
#[derive(Parser)]
#[command(version, mut_arg("listen", |arg| ProcessConfig::listen(arg, "GAMESHELF_ARBITER_LISTEN", "127.0.0.1:7400")))]
struct Arguments {
    #[command(flatten)]
    process: ProcessConfig,
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { process, config } = Arguments::parse();
    run_service("arbiter", &process, async |environment, listener, shutdown| {
        arbiter::run(config, environment, listener, shutdown)
            .await
            .map_err(|error| Failure::classified(&error, error.is_misconfigured()))
    })
}
