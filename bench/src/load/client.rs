//! What a server is asked before it is loaded.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use tokio::runtime::{self, Runtime};

use super::connection::{Connection, Method};
use super::template::framed;

/// Requests in flight while a server is prepared.
const IN_FLIGHT: usize = 64;

/// A client that blocks.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    runtime: Runtime,
    connection: Connection,
}

impl Client {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(Connection::open(address))?;
        Ok(Self { address, runtime, connection })
    }

    /// Makes one request.
    pub(crate) fn call<A: Message + Default>(&self, path: &str, request: &impl Message) -> anyhow::Result<A> {
        Ok(A::decode(self.send(path, framed(request).into())?)?)
    }

    /// Sends a message with its prefix, and gives that of the answer.
    pub(crate) fn send(&self, path: &str, message: Bytes) -> anyhow::Result<Bytes> {
        let method = Method::new(self.address, path)?;
        self.runtime.block_on(self.connection.clone().call(&method, message))
    }

    /// Makes many requests, several at once.
    pub(crate) fn call_all(
        &self,
        path: &str,
        requests: impl Iterator<Item = impl Message>,
    ) -> anyhow::Result<()> {
        let method = Method::new(self.address, path)?;
        let calls = requests.map(|request| {
            let (mut connection, method) = (self.connection.clone(), method.clone());
            let message = Bytes::from(framed(&request));
            async move { connection.call(&method, message).await.map(|_| ()) }
        });
        let calls = stream::iter(calls).buffer_unordered(IN_FLIGHT);
        self.runtime.block_on(calls.try_for_each(async |()| Ok(())))
    }
}
