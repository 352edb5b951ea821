//! Game-list as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use mesh::process::{Failure, ProcessConfig, run_service};

/// Shows customers their games from a local copy that knows its age
#[derive(Parser)]
#[command(version)]
#[command(mut_arg("listen", |arg| {
    ProcessConfig::listen(arg, "GAMESHELF_GAME_LIST_LISTEN", "127.0.0.1:7402")
}))]
struct Arguments {
    #[command(flatten)]
    process: ProcessConfig,
    #[command(flatten)]
    config: game_list::Config,
}

fn main() -> ExitCode {
    let Arguments { process, config } = Arguments::parse();
    run_service("game-list", &process, async |environment, listener, shutdown| {
        game_list::run(config, environment, listener, shutdown)
            .await
            .map_err(|error| Failure::classified(&error, error.is_misconfigured()))
    })
}
