//! The frame of a process that serves: runtime, telemetry, listener, signals, and how it ends.

mod bind;
mod stop;

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::value_parser;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::environment::{Environment, Threads};
use crate::telemetry;

/// The exit code of a wrong configuration: a port in use, a telemetry setting that is not valid.
pub const EXIT_CONFIGURATION: u8 = 5;

/// The exit code of any other failure.
pub const EXIT_FAILURE: u8 = 1;

/// How a serving process runs.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ProcessConfig {
    /// Address to listen on, as IP:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Time to wait for the address to become free
    #[arg(long, value_name = "MS", env = "GAMESHELF_BIND_WAIT_MS", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u64).range(0..=600_000))]
    pub bind_wait_ms: u64,

    /// End when the standard input is closed, as it is when the parent process ends
    #[arg(long)]
    pub exit_on_stdin_close: bool,

    /// Threads that serve. Each connection stays on one of them
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_WORKER_THREADS", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u32).range(1..=1024))]
    pub worker_threads: u32,
}

impl ProcessConfig {
    /// Gives `--listen` of a command that flattens this its environment variable and default:
    /// `#[command(mut_arg("listen", |arg| ProcessConfig::listen(arg, "ECHO_LISTEN", "127.0.0.1:7400")))]`.
    #[must_use]
    pub fn listen(arg: clap::Arg, variable: &'static str, default: &'static str) -> clap::Arg {
        arg.env(variable).default_value(default).required(false)
    }
}

/// Why a service failed, as one sentence for a person, and the code that its process ends with.
#[derive(Debug)]
pub struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub fn new(message: impl Display, exit_code: u8) -> Self {
        Self { message: message.to_string(), exit_code }
    }

    /// A failure that ends with the code of a wrong configuration where that is what it is, and of any other failure
    /// elsewhere.
    pub fn classified(message: impl Display, is_misconfigured: bool) -> Self {
        Self::new(message, if is_misconfigured { EXIT_CONFIGURATION } else { EXIT_FAILURE })
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error, EXIT_FAILURE)
    }
}

/// Runs a service as the whole process: sets up the runtime and telemetry, listens, and cancels the token on SIGTERM,
/// ctrl-C and (where asked for) the end of the standard input. The same signal a second time ends the process at once.
/// Telemetry is flushed before this returns.
///
/// An error is printed as one sentence on standard error. The exit code is that of the [`Failure`], 1 for a plain
/// error, 5 for an address in use or another error of configuration.
pub fn run_service<F, Fut, E>(name: &'static str, process: &ProcessConfig, service: F) -> ExitCode
where
    F: FnOnce(Environment, TcpListener, CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    let runtime = match build_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(&Failure::new(format!("the runtime cannot start: {error}"), EXIT_FAILURE));
        }
    };
    // The future of a service is large; it lives on the heap so that the stack stays small.
    let result = runtime.block_on(Box::pin(run(name, process, service)));
    // What still runs (a lookup of a name, say) must not hold the end up.
    runtime.shutdown_background();
    result.map_or_else(|failure| report(&failure), |()| ExitCode::SUCCESS)
}

/// One thread serves best by a runtime that has no other. A worker of a larger one runs what it woke last at once, so that each
/// answer would leave in a write of its own, where here all answers that are ready share one. Further threads have runtimes of
/// their own, for connections ([`Threads`]).
fn build_runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn run<F, Fut, E>(name: &'static str, process: &ProcessConfig, service: F) -> Result<(), Failure>
where
    F: FnOnce(Environment, TcpListener, CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    let telemetry = telemetry::init(name).map_err(|error| Failure::new(error, EXIT_CONFIGURATION))?;
    let shutdown = CancellationToken::new();
    let result = match stop::cancel_on_stop(shutdown.clone(), process.exit_on_stdin_close) {
        Ok(()) => serve(name, process, service, shutdown).await,
        Err(error) => Err(Failure::new(format!("signals cannot be received: {error}"), EXIT_FAILURE)),
    };
    telemetry.shutdown().await;
    result
}

async fn serve<F, Fut, E>(
    name: &'static str,
    process: &ProcessConfig,
    service: F,
    shutdown: CancellationToken,
) -> Result<(), Failure>
where
    F: FnOnce(Environment, TcpListener, CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    let Some(listener) = bind::bind(process.listen, process.bind_wait_ms, &shutdown).await? else {
        return Ok(());
    };
    let address = listener.local_addr().unwrap_or(process.listen);
    tracing::info!(service = name, %address, "listening");
    let further = usize::try_from(process.worker_threads).unwrap_or(1).saturating_sub(1);
    let threads = Threads::start(further)
        .map_err(|error| Failure::new(format!("the threads cannot start: {error}"), EXIT_FAILURE))?;
    let environment = Environment { threads, ..Environment::system() };
    let served = tokio::spawn(service(environment, listener, shutdown)).await;
    let result = match served {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Failure::new(format!("the service ended by a defect: {error}"), EXIT_FAILURE)),
    };
    if result.is_ok() {
        tracing::info!(service = name, "stopped");
    }
    result
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("error: {}", failure.message);
    ExitCode::from(failure.exit_code)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(mut_arg("listen", |arg| ProcessConfig::listen(arg, "MESH_TEST_LISTEN", "127.0.0.1:7400")))]
    struct Arguments {
        #[command(flatten)]
        process: ProcessConfig,
    }

    #[test]
    fn a_command_gives_the_address_its_default() {
        assert_eq!(Arguments::parse_from(["test"]).process.listen.port(), 7400);
        let arguments = Arguments::parse_from(["test", "--listen", "[::1]:1"]);
        assert_eq!(arguments.process.listen, "[::1]:1".parse().unwrap());
        assert!(Arguments::try_parse_from(["test", "--listen", "nowhere"]).is_err());
    }

    #[test]
    fn an_error_becomes_a_failure_with_the_general_code() {
        let failure = Failure::from(std::io::Error::other("the disk is full"));
        assert_eq!((failure.message.as_str(), failure.exit_code), ("the disk is full", EXIT_FAILURE));
    }
}
