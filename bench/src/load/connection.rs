//! A plain gRPC client for what is done before and after a load: one message there, one back, with whatever the server
//! says of an error.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Version, header};
use tokio::net::TcpStream;

use super::template::PREFIX_BYTES;

/// A method of a service at an address.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    head: Request<()>,
}

impl Method {
    /// `path` is that of gRPC: `/package.Service/Method`.
    pub(crate) fn new(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let mut head = Request::builder().method(Verb::POST).version(Version::HTTP_2);
        head = head.uri(format!("http://{address}{path}"));
        head = head.header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        head = head.header(header::TE, HeaderValue::from_static("trailers"));
        Ok(Self { head: head.body(())? })
    }
}

/// A connection, to be cloned for each of its callers.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    address: SocketAddr,
}

/// How much a server may send on a stream, and on all of a connection, before it is read.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

impl Connection {
    /// Connects; the connection lives on a task of its own until the last clone is dropped.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await?;
        // Its error is seen by the calls that it fails.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { sender, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one message with its prefix, and gives the stream of the answer's.
    pub(crate) async fn open_stream(
        &mut self,
        method: &Method,
        message: Bytes,
    ) -> anyhow::Result<RecvStream> {
        futures_util::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (answer, mut body) = self.sender.send_request(method.head.clone(), false)?;
        body.send_data(message, true)?;
        let (head, body) = answer.await?.into_parts();
        ensure!(head.status.is_success(), "the server answered with {}", head.status);
        ensure!(!head.headers.contains_key("grpc-status"), "{}", status_text(&head.headers));
        Ok(body)
    }

    /// Sends one message with its prefix, and gives the message of the answer.
    pub(crate) async fn call(&mut self, method: &Method, message: Bytes) -> anyhow::Result<Bytes> {
        futures_util::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (answer, mut body) = self.sender.send_request(method.head.clone(), false)?;
        body.send_data(message, true)?;
        let (head, mut body) = answer.await?.into_parts();
        ensure!(head.status.is_success(), "the server answered with {}", head.status);
        let Some(first) = body.data().await.transpose()? else {
            // An error comes without a message, often in the head alone.
            let trailers = body.trailers().await?;
            bail!("{}", status_text(trailers.as_ref().unwrap_or(&head.headers)));
        };
        body.flow_control().release_capacity(first.len())?;
        let mut received = first;
        while let Some(more) = body.data().await.transpose()? {
            body.flow_control().release_capacity(more.len())?;
            let mut joined = BytesMut::from(received);
            joined.extend_from_slice(&more);
            received = joined.freeze();
        }
        let trailers = body.trailers().await?.context("the answer has no trailers")?;
        let is_ok = trailers.get("grpc-status").is_some_and(|status| status.as_bytes() == b"0");
        ensure!(is_ok, "{}", status_text(&trailers));
        ensure!(received.len() >= PREFIX_BYTES, "the answer has no message");
        received.advance(PREFIX_BYTES);
        Ok(received)
    }
}

/// What the server says of an error.
fn status_text(trailers: &HeaderMap) -> String {
    match tonic::Status::from_header_map(trailers) {
        Some(status) => format!("{:?}: {}", status.code(), status.message()),
        None => "the answer has no status".to_owned(),
    }
}
