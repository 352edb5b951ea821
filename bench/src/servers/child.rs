//! Servers as child processes of the measurement.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child as OsChild, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::collector;

/// How long a server may take to start or to end.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Whether a child exports its telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telemetry {
    /// Metrics, and traces of one call in a hundred.
    On,
    Off,
}

impl Telemetry {
    /// Tells it to a child.
    pub(crate) fn tell(self, command: &mut Command) -> anyhow::Result<()> {
        if self == Self::On {
            command.envs(collector::variables()?);
        }
        Ok(())
    }
}

/// A server that runs. It ends with this process, however that ends: it sees its standard input close.
#[derive(Debug)]
pub(crate) struct Child {
    process: OsChild,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this executable as a server, and waits until it takes connections.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        // With telemetry on, as in production.
        Self::start_with(arguments, variables, Telemetry::On)
    }

    /// As [`Self::start`], perhaps without telemetry.
    pub(crate) fn start_with(
        arguments: &[&str],
        variables: &[(&str, &str)],
        telemetry: Telemetry,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).args(["--listen", &address.to_string()]);
        command.env("RUST_LOG", "warn").envs(variables.iter().copied());
        telemetry.tell(&mut command)?;
        let process = command.stdin(Stdio::piped()).spawn()?;
        let mut child = Self { process, address };
        child.wait_until(|| TcpStream::connect(address).is_ok())?;
        Ok(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a condition, as long as the server runs.
    pub(crate) fn wait_until(&mut self, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while !is_so() {
            if let Some(ended) = self.process.try_wait()? {
                bail!("the server ended with {ended}");
            }
            if Instant::now() > deadline {
                bail!("the server does not answer after {} s", TIMEOUT.as_secs());
            }
            thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Child {
    /// Ends the server by closing its standard input; one that does not end is killed.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let deadline = Instant::now() + TIMEOUT;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL_PAUSE);
        }
        // Nothing can be done about one that cannot even be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}
