//! Measures the arbiter on each store beside a no-op server, under the same load and in the same run.
//!
//! The servers are child processes of this one, so that each has its own memory and can be measured alone. The load
//! is a closed loop: as many requests are in flight as asked for, and each is sent when the one before it is answered.

mod children;
mod load;
mod noop;
mod report;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum, value_parser};
use mesh::process::{ProcessConfig, run_service};

use crate::children::Child;
use crate::load::Load;
use crate::report::Row;
use crate::work::Work;

/// Measures the arbiter beside a no-op server.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    server: Option<Server>,
    #[command(flatten)]
    measure: Measure,
}

/// The servers that a measurement starts as child processes of itself.
#[derive(Subcommand)]
enum Server {
    /// Serve the arbiter.
    #[command(hide = true)]
    Arbiter(Box<ArbiterArguments>),
    /// Serve answers that cost nothing.
    #[command(hide = true)]
    Noop(ProcessConfig),
}

#[derive(clap::Args)]
struct ArbiterArguments {
    #[command(flatten)]
    process: ProcessConfig,
    #[command(flatten)]
    config: arbiter::Config,
}

#[derive(clap::Args)]
struct Measure {
    /// Requests in flight at once
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=10_000))]
    in_flight: u32,

    /// Connections that share them
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(1..=100))]
    connections: u32,

    /// How long each work is measured
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=3_600))]
    seconds: u64,

    /// How long each work runs before it is measured
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(0..=600))]
    warmup_seconds: u64,

    /// An empty database on a PostgreSQL server for the arbiter; `scripts/with-postgres` gives one
    #[arg(long, value_name = "URL", env = "GAMESHELF_TEST_POSTGRES_URL", hide_env_values = true)]
    postgres_url: String,

    /// How to print what was measured
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.server {
        Some(Server::Arbiter(arbiter)) => {
            let ArbiterArguments { process, config } = *arbiter;
            run_service("arbiter", &process, |environment, listener, shutdown| {
                arbiter::run(config, environment, listener, shutdown)
            })
        }
        Some(Server::Noop(process)) => {
            run_service("noop", &process, |_, listener, shutdown| noop::run(listener, shutdown))
        }
        None => match measure(&arguments.measure) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn measure(measure: &Measure) -> anyhow::Result<()> {
    // The load has a thread of its own beside the server's: these machines have two.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(measure_all(measure))?;
    match measure.output {
        Output::Table => println!("{}", report::table(&rows)),
        Output::Json => println!("{}", serde_json::json!({ "rows": rows })),
    }
    Ok(())
}

async fn measure_all(measure: &Measure) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir().context("no directory for the SQLite store")?;
    let sqlite_url = format!("sqlite:{}", directory.path().join("store.sqlite").display());
    let servers: [(&str, &[&str]); 3] = [
        ("no-op tonic server", &["noop"]),
        ("arbiter on SQLite", &["arbiter", "--database-url", &sqlite_url]),
        ("arbiter on PostgreSQL", &["arbiter", "--database-url", &measure.postgres_url]),
    ];
    let load = Load {
        in_flight: measure.in_flight as usize,
        connections: measure.connections as usize,
        warmup: Duration::from_secs(measure.warmup_seconds),
        measured: Duration::from_secs(measure.seconds),
    };
    let mut rows: Vec<Row> = Vec::new();
    for (name, arguments) in servers {
        eprintln!("measuring: {name}");
        let child = Child::start(arguments).await.with_context(|| format!("{name} did not start"))?;
        for work in [Work::Grant, Work::StrongList] {
            work.prepare(&child.channel).await?;
            let result = load.run(&child.address, work).await?;
            let noop = rows.iter().find(|row| row.work == work.name()).map(|row| row.per_second);
            rows.push(Row::new(work.name(), name, &result, noop, child.resident_bytes()?));
        }
        child.stop().await?;
    }
    Ok(rows)
}
