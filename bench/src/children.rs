//! Servers as child processes of the measurement.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use gameshelf::proto::arbiter::v1::GetHeadRequest;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that runs. It ends with this process, however that ends: it sees its standard input close.
pub(crate) struct Child {
    process: tokio::process::Child,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
}

impl Child {
    /// Starts this executable as a server, and waits until it answers.
    pub(crate) async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let address = free_address().await?;
        let process = tokio::process::Command::new(std::env::current_exe()?)
            .args(arguments)
            .args(["--listen", &address.to_string(), "--exit-on-stdin-close"])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut child = Self { process, address, channel: channel(address) };
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while let Err(status) =
            ArbiterServiceClient::new(child.channel.clone()).get_head(GetHeadRequest {}).await
        {
            if let Some(ended) = child.process.try_wait()? {
                bail!("it ended with {ended}");
            }
            if tokio::time::Instant::now() > deadline {
                bail!("it does not answer: {}", status.message());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(child)
    }

    /// The memory that the server has in RAM now.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.process.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.context("the kernel does not tell the memory of a process")? * 1024)
    }

    /// Ends the server by closing its standard input.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        let ended = tokio::time::timeout(START_TIMEOUT, self.process.wait()).await??;
        anyhow::ensure!(ended.success(), "the server ended with {ended}");
        Ok(())
    }
}

/// A connection without any layer: what is measured is the server.
#[expect(clippy::disallowed_methods, reason = "the layers of the mesh would be measured with the server")]
pub(crate) fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    endpoint.expect("an address makes a URI").tcp_nodelay(true).connect_lazy()
}

async fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}
