//! Measures the arbiter beside other ways to do the same work, under the same load and in the same run.
//!
//! Servers are child processes of this one, so that each can be watched alone. The load is either a closed loop, in which as many
//! requests are in flight as asked for, or an open one, in which they are sent at a given rate.

mod compare;
mod copies;
mod growth;
mod load;
mod overhead;
mod progress;
mod report;
mod rivals;
mod servers;
mod settings;
mod tune;
mod work;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use mesh::process::run_service;
use mimalloc::MiMalloc;

use crate::compare::{Bench, OpenLoop};
use crate::copies::CopiesSettings;
use crate::overhead::CallerArguments;
use crate::progress::Progress;
use crate::report::{Figures, Report};
use crate::servers::{ArbiterArguments, GameListArguments, NoopArguments};
use crate::settings::Settings;

/// Much of what a request costs is memory that is taken and given back: this one is faster at it than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures the arbiter beside other ways to do the same work.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure every work beside its rivals
    Compare(Compare),
    /// Measure grants while the tables grow, beside a shared database of the same size
    Growth(Growth),
    /// Measure Watch, the copies that follow it, and imports
    Copies(Copies),
    /// Measure what the layers of the mesh cost beside a bare channel of tonic
    Overhead(Overhead),
    /// Measure which threads and connections of the load get most out of a server that does nothing
    Tune(Settings),
    /// Serve the arbiter.
    #[command(hide = true)]
    Arbiter(Box<ArbiterArguments>),
    /// Serve customers' games.
    #[command(hide = true)]
    GameList(Box<GameListArguments>),
    /// Serve answers that cost nothing.
    #[command(hide = true)]
    Noop(NoopArguments),
    /// Call a server that does nothing.
    #[command(hide = true)]
    Caller(CallerArguments),
}

#[derive(clap::Args)]
struct Compare {
    #[command(flatten)]
    settings: Settings,

    /// Only rows in whose work or rival this text stands; may be given again
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Rate of the open loop as a share of the closed loop's
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = above_zero)]
    open_share: f64,

    /// Requests a second of the open loop, instead of a share
    #[arg(long, value_name = "RATE", conflicts_with = "open_share", value_parser = above_zero)]
    open_rate: Option<f64>,

    #[command(flatten)]
    printing: Printing,
}

/// A fifth of a machine of 24 GB for its buffers, and a log that is not full every few seconds: what PostgreSQL's documentation advises
/// for a server of its own, in place of settings that are made to start anywhere. Nothing of it makes a commit less durable.
const SIZED: &str =
    "-c shared_buffers=4GB -c max_wal_size=16GB -c checkpoint_timeout=30min -c wal_compression=lz4";

/// Long enough for what follows a checkpoint to be over, in which PostgreSQL logs each page whole that is changed for the first
/// time: the faster side would have most of its time in it.
const GROWTH_SECONDS: &str = "60";

#[derive(clap::Args)]
#[command(mut_arg("seconds", |seconds| seconds.default_value(GROWTH_SECONDS)))]
struct Growth {
    #[command(flatten)]
    settings: Settings,

    /// Entitlements in the tables, in growing order
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [100_000, 1_000_000, 10_000_000])]
    entitlements: Vec<u64>,

    /// Settings of the PostgreSQL that is started, for both sides: one whose memory and log are made for tables of this size
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true, default_value = SIZED)]
    postgres_options: String,

    #[command(flatten)]
    printing: Printing,
}

#[derive(clap::Args)]
struct Copies {
    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    wanted: CopiesSettings,

    /// How to print what was measured
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(clap::Args)]
struct Overhead {
    #[command(flatten)]
    settings: Settings,

    /// How to print what was measured
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(clap::Args)]
struct Printing {
    /// How to print what was measured
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,

    /// Also draw each ratio beside its goal into this file
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("not above zero".to_owned()) }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Arbiter(arbiter) => {
            let ArbiterArguments { process, config } = *arbiter;
            return run_service("arbiter", &process, |environment, listener, shutdown| {
                arbiter::run(config, environment, listener, shutdown)
            });
        }
        Command::Noop(arguments) => servers::serve_noop(&arguments).map(|()| true),
        Command::Compare(arguments) => {
            let open = arguments.open_rate.map_or(OpenLoop::Share(arguments.open_share), OpenLoop::PerSecond);
            let bench = Bench::new(arguments.settings, Progress::new());
            compare::compare(&bench, &arguments.only, open)
                .and_then(|report| print(&report, &arguments.printing))
        }
        Command::Growth(arguments) => {
            let bench = Bench::new(arguments.settings, Progress::new())
                .with_postgres_options(arguments.postgres_options);
            print(&growth::growth(&bench, &arguments.entitlements), &arguments.printing)
        }
        Command::GameList(game_list) => {
            let GameListArguments { process, config } = *game_list;
            return run_service("game-list", &process, |environment, listener, shutdown| {
                game_list::run(config, environment, listener, shutdown)
            });
        }
        Command::Copies(arguments) => {
            let bench = Bench::new(arguments.settings, Progress::new());
            copies::copies(&bench, &arguments.wanted)
                .and_then(|figures| print_figures(&figures, arguments.output))
        }
        Command::Overhead(arguments) => {
            let bench = Bench::new(arguments.settings, Progress::new());
            print_figures(&overhead::overhead(&bench), arguments.output)
        }
        Command::Caller(arguments) => overhead::call(&arguments).map(|()| true),
        Command::Tune(settings) => tune::tune(&settings).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints figures; whether all could be measured.
fn print_figures(figures: &Figures, output: Output) -> anyhow::Result<bool> {
    match output {
        Output::Table => println!("{}", figures.text()),
        Output::Json => println!("{}", serde_json::to_string_pretty(figures)?),
    }
    Ok(figures.is_complete())
}

/// Prints a report; whether it is complete.
fn print(report: &Report, printing: &Printing) -> anyhow::Result<bool> {
    match printing.output {
        Output::Table => println!("{}", report.text()),
        Output::Json => println!("{}", serde_json::to_string(report)?),
    }
    if let Some(path) = &printing.svg {
        fs::write(path, report.svg()).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(report.is_complete())
}
