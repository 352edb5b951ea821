//! `gameshelf up`: the whole mesh on this machine, each service as a child process of its own.

mod backoff;
pub(crate) mod child;
pub(crate) mod data_dir;
mod probe;
mod services;
pub(crate) mod supervisor;
mod table;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use clap::Args;
use gameshelf::catalog::{self, Catalog};
use mesh::environment::Environment;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Failure, Kind};
use crate::output::Output;
use data_dir::DataDir;
use supervisor::Supervisors;

/// The project's own sample, so that nothing has to be at hand to try it.
pub(crate) const SAMPLE_CATALOG: &[u8] = include_bytes!("../../samples/catalog.csv");
const PAUSE: Duration = Duration::from_millis(20);
/// How long a start may take before it is said what is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the end of another mesh may take before it is said what is waited for.
const PATIENCE_WITH_ANOTHER: Duration = Duration::from_millis(300);
/// The exit code after a second signal, by which somebody says that the drain takes too long.
const EXIT_AT_ONCE: i32 = 130;

/// Starts the whole mesh on this machine, until ctrl-C
///
/// Runs arbiter, purchase, game-list and payment-sandbox as child processes on loopback, each with an embedded database
/// in the data directory, and starts a child again that dies.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where databases and logs are kept
    #[arg(long, env = "GAMESHELF_DATA_DIR", value_name = "DIRECTORY", default_value = "gameshelf-data")]
    data_dir: PathBuf,
    /// The catalogue [default: a small sample]
    #[arg(long, env = "GAMESHELF_CATALOG", value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// The arbiter's database, sqlite:PATH or postgres://… [default: embedded, in the data directory]
    #[arg(long, env = "GAMESHELF_ARBITER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    arbiter_database_url: Option<String>,
    /// The database of purchase, likewise
    #[arg(long, env = "GAMESHELF_PURCHASE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    purchase_database_url: Option<String>,
    /// How long to wait for the data directory and the ports of a mesh that is just ending, in milliseconds
    #[arg(long, env = "GAMESHELF_UP_WAIT_MS", value_name = "N", default_value_t = 5_000)]
    wait_ms: u64,
    /// How long a service may take to finish what it has begun before it is killed, in milliseconds
    #[arg(long, env = "GAMESHELF_UP_DRAIN_MS", value_name = "N", default_value_t = 10_000)]
    drain_ms: u64,
}

/// Starts the mesh, keeps it up until ctrl-C or SIGTERM, and ends it.
///
/// # Errors
///
/// A data directory or port in use, a catalogue that is wrong, or the one clear error of a child that could not start.
pub(crate) async fn run(
    options: Options,
    port_base: u16,
    environment: &Environment,
    output: Output,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let wait = Duration::from_millis(options.wait_ms);
    let sample = tokio::select! {
        prepared = prepare(&options, port_base, wait) => prepared?,
        () = signals.next() => return Ok(()),
    };
    let specs = services::specs(&services::Plan {
        executable: std::env::current_exe()?,
        data_dir: sample.data_dir.path().to_owned(),
        catalog: sample.catalog.clone(),
        port_base,
        wait,
        arbiter_database_url: options.arbiter_database_url,
        purchase_database_url: options.purchase_database_url,
    })?;
    let mut supervisors = Supervisors::start(specs, environment, Duration::from_millis(options.drain_ms));
    let ended = tokio::select! {
        ended = keep_up(&mut supervisors, &sample, port_base, output) => ended,
        () = signals.next() => Ok(()),
    };
    tokio::select! {
        () = supervisors.stop() => ended,
        // Whoever asks twice does not want to wait; what is left is killed as it is dropped.
        () = signals.next() => std::process::exit(EXIT_AT_ONCE),
    }
}

/// What has to be right before any child starts.
struct Prepared {
    data_dir: DataDir,
    catalog: PathBuf,
    /// A game to try the purchase with.
    example_game: String,
}

async fn prepare(options: &Options, port_base: u16, wait: Duration) -> Result<Prepared, Failure> {
    let data_dir = DataDir::take(&options.data_dir, wait).await?;
    let catalog = match &options.catalog {
        Some(path) => path.clone(),
        None => data_dir.write("sample-catalog.csv", SAMPLE_CATALOG)?,
    };
    let example_game = check_catalog(&catalog)?;
    for address in services::addresses(port_base) {
        wait_for_port(address, wait).await?;
    }
    Ok(Prepared { data_dir, catalog, example_game })
}

/// Refuses a wrong catalogue before anything starts. Gives a game that can be bought, where there is one.
fn check_catalog(path: &std::path::Path) -> Result<String, Failure> {
    let wrong = |what: String| {
        Failure::new(Kind::BadInput, "CATALOG", format!("the catalogue {}: {what}", path.display()))
            .with("file", path.display())
    };
    let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if usize::try_from(size).unwrap_or(usize::MAX) > catalog::FILE_MAX_BYTES {
        return Err(wrong(format!("the file has over {} bytes", catalog::FILE_MAX_BYTES)));
    }
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let catalog = Catalog::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let ids = bytes.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b',').next());
    let mut games = ids.filter_map(|id| catalog.get(&std::str::from_utf8(id).ok()?.parse().ok()?));
    let listed = games.find(|game| matches!(game.offer, catalog::Offer::Listed(_)));
    Ok(listed.map_or_else(|| "GAME".to_owned(), |game| game.game_id.to_string()))
}

/// Waits until nobody listens on the address: the children of a mesh that was just ended may still do so.
async fn wait_for_port(address: SocketAddr, wait: Duration) -> Result<(), Failure> {
    let free = async {
        loop {
            match TcpListener::bind(address) {
                Ok(_listener) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    };
    let in_use = || {
        Failure::new(Kind::BadInput, "PORT_IN_USE", format!("{address} is in use by another process"))
            .with("address", address)
            .hint("end that process, or choose other ports with --port-base")
    };
    match wait_aloud(wait, &format!("{address} to become free"), free).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let message = format!("cannot listen on {address}: {error}");
            Err(Failure::new(Kind::BadInput, "PORT", message).hint("choose other ports with --port-base"))
        }
        Err(_) => Err(in_use()),
    }
}

/// Waits so long for something that another process holds. Says on standard error what it waits for when that takes
/// longer than a person takes for granted.
async fn wait_aloud<T>(
    wait: Duration,
    what: &str,
    free: impl Future<Output = T>,
) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(wait, async {
        tokio::pin!(free);
        tokio::select! {
            done = &mut free => done,
            () = tokio::time::sleep(PATIENCE_WITH_ANOTHER) => {
                eprintln!("waiting for {what}");
                free.await
            }
        }
    })
    .await
}

/// Tells once all serve, and then only ends with a child that cannot be kept up.
async fn keep_up(
    supervisors: &mut Supervisors,
    prepared: &Prepared,
    port_base: u16,
    output: Output,
) -> Result<(), Failure> {
    let running = tokio::select! {
        running = supervisors.all_serving() => running?,
        () = supervisors.say_what_is_waited_for(PATIENCE) => supervisors.all_serving().await?,
    };
    table::print(
        &table::Up {
            running: &running,
            logs: prepared.data_dir.logs(),
            executable: std::env::args_os().next().unwrap_or_else(|| OsString::from("gameshelf")),
            port_base,
            example_game: &prepared.example_game,
        },
        output,
    )?;
    Err(supervisors.failed().await)
}

/// The signals by which a person ends what was started.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_catalogue_with_a_game_to_buy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.csv");
        fs::write(&path, SAMPLE_CATALOG).unwrap();
        assert_eq!(check_catalog(&path).unwrap(), "tiny-forest");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let failure = wait_for_port(address, Duration::ZERO).await.unwrap_err();
        assert_eq!(failure.reason(), "PORT_IN_USE");
        assert!(failure.to_string().contains(&address.to_string()), "{failure}");
        drop(listener);
        wait_for_port(address, Duration::from_secs(5)).await.unwrap();
    }
}
