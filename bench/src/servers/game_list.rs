//! game-list, as a child process.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use mesh::process::ProcessConfig;

use super::Process;
use super::child::Child;
use super::script::project_directory;

/// How game-list is started as a child.
#[derive(clap::Args)]
pub(crate) struct GameListArguments {
    #[command(flatten)]
    pub(crate) process: ProcessConfig,
    #[command(flatten)]
    pub(crate) config: game_list::Config,
}

/// A game-list that follows an arbiter.
#[derive(Debug)]
pub(crate) struct GameList {
    child: Child,
}

impl GameList {
    /// Starts one that keeps its copy in a directory.
    pub(crate) fn start(arbiter: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        let variables = [
            (
                "GAMESHELF_GAME_LIST_DATABASE_URL",
                format!("sqlite:{}", directory.join("copy.sqlite").display()),
            ),
            ("GAMESHELF_CATALOG", project_directory().join("samples/catalog.csv").display().to_string()),
            ("GAMESHELF_ARBITER_ADDRESS", format!("http://{arbiter}")),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let child = Child::start(&["game-list", "--exit-on-stdin-close"], &variables);
        Ok(Self { child: child.context("game-list did not start")? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.child.address
    }

    pub(crate) fn process(&self) -> Process {
        Process::alone("game-list", self.child.pid())
    }
}
