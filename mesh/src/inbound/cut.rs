//! Connections that can be cut off: what is still open when the drain's time is over, or the connection's own, ends then.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// The accepted connections, each of which ends when the token is cancelled, and at the latest at this age.
pub(super) fn until<S>(
    incoming: impl Stream<Item = io::Result<S>>,
    cut: CancellationToken,
    age: Duration,
) -> impl Stream<Item = io::Result<Cut<S>>> {
    incoming.map(move |stream| stream.map(|stream| Cut { stream, cut: Box::pin(end(cut.clone(), age)) }))
}

async fn end(cut: CancellationToken, age: Duration) {
    // That the time is over is as good as that the token is cancelled.
    let _ = tokio::time::timeout(age, cut.cancelled()).await;
}

pin_project! {
    /// A connection that reads its end once it is cut off, whereupon everything on it is dropped.
    pub(super) struct Cut<S> {
        #[pin]
        stream: S,
        cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    }
}

impl<S: Connected> Connected for Cut<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead> AsyncRead for Cut<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let read = this.stream.poll_read(context, buffer);
        if read.is_pending() && this.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl<S: AsyncWrite> AsyncWrite for Cut<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }

    /// Into a connection that takes no vectors, HTTP/2 copies answers of up to a KiB behind each other and writes them at once;
    /// into one that does, each answer above 256 bytes would leave in a write of its own.
    fn is_write_vectored(&self) -> bool {
        false
    }
}
