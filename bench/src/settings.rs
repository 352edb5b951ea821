//! How long and how hard everything is measured.

use std::time::Duration;

use clap::value_parser;

use crate::compare::Turns;
use crate::load::{Shape, Slice};

/// What is not measured at the beginning of each turn.
const WARMUP: Duration = Duration::from_millis(300);
/// How long each candidate is tried each time in a search for the best one.
const SEARCH: Duration = Duration::from_millis(500);
/// How often. The best time counts: what the machine does besides only makes a candidate slower.
pub(crate) const SEARCH_PASSES: usize = 2;

/// What all measurements have in common.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// How long each side of a row is measured, in all its turns together
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,

    /// Turns of each side: ours, the rival, ours, the rival...
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,

    /// Threads of the load
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) load_threads: u32,

    /// Connections of the load to a server over gRPC
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) connections: u32,

    /// A PostgreSQL server on which databases can be made; without one, one is started as the tests do
    #[arg(long, value_name = "URL", env = "GAMESHELF_TEST_POSTGRES_URL", hide_env_values = true)]
    pub(crate) postgres_url: Option<String>,
}

impl Settings {
    pub(crate) fn shape(&self) -> Shape {
        Shape { threads: self.load_threads as usize, connections: self.connections as usize }
    }

    pub(crate) fn turns(&self) -> Turns {
        let measured = Duration::from_secs(self.seconds) / self.rounds;
        Turns { rounds: self.rounds, slice: Slice { warmup: WARMUP, measured } }
    }

    pub(crate) fn search_slice(&self) -> Slice {
        Slice { warmup: WARMUP, measured: SEARCH.min(Duration::from_secs(self.seconds)) }
    }
}
