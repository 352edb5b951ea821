//! The connections of a server: each on a task of its own, and each request on one of its own too.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{Request, Response};
use http_body_util::BodyExt;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::InboundConfig;
use crate::environment::Threads;
use crate::http2::{Pipe, Received, unanswered};

/// What a caller may send on one stream before it is read, and on all of a connection: as much as hyper's servers allow.
const WINDOW_BYTES: u32 = 1 << 20;
/// What is kept of a stream that the caller does not take.
const SEND_BUFFER_BYTES: usize = 400 << 10;
/// The largest head that is taken.
const HEADERS_BYTES: u32 = 16 << 10;
/// The requests of one connection that are taken before those are answered that were. Many that come together, all taken first, would
/// leave in one piece at the end, and their caller would wait for the server as the server then waits for the caller.
const REQUESTS_AT_ONCE: usize = 16;
/// How long to wait when nothing can be accepted: there are too many open files, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections are kept, and when they end.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    max_streams: u32,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
    /// After this a connection takes no more requests.
    age: Duration,
    /// After this it ends.
    age_in_all: Duration,
    /// Cancelled when connections should take no more requests.
    pub(super) goodbye: CancellationToken,
    /// Cancelled when connections should end.
    pub(super) cut: CancellationToken,
}

impl Terms {
    pub(super) fn new(config: &InboundConfig) -> Self {
        Self {
            max_streams: config.max_streams_per_connection,
            keepalive_interval: Duration::from_millis(config.keepalive_interval_ms),
            keepalive_timeout: Duration::from_millis(config.keepalive_timeout_ms),
            age: config.connection_age(),
            age_in_all: config.connection_age() + config.connection_grace(),
            goodbye: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }
}

/// What answers requests. It is cloned for each connection.
pub(super) trait Stack:
    Service<Request<Body>, Response = Response<Self::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
    /// What an answer has after its head.
    type Body: http_body::Body<Data = Bytes> + Send + 'static;
}

impl<S, B> Stack for S
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Body = B;
}

/// The connections that come, and where they go.
pub(super) struct Arrivals<T, O> {
    /// The connections, not opened yet.
    pub(super) incoming: T,
    /// Opens one, on the thread on which it is served.
    pub(super) open: O,
    pub(super) threads: Threads,
}

/// What opens a connection.
pub(super) trait Open<A, I>: FnOnce(A) -> io::Result<I> + Copy + Send + 'static {}

impl<A, I, O: FnOnce(A) -> io::Result<I> + Copy + Send + 'static> Open<A, I> for O {}

/// Serves every connection that comes until `stop`; then waits until those that are there have ended, to which they are told to
/// take no more requests.
pub(super) async fn serve<A, I, S>(
    arrivals: Arrivals<impl Stream<Item = io::Result<A>>, impl Open<A, I>>,
    stack: S,
    terms: &Terms,
    stop: impl Future<Output = ()>,
) where
    A: Send + 'static,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Stack,
{
    let connections = TaskTracker::new();
    tokio::select! {
        // In order, so that a simulation can be repeated.
        biased;
        () = stop => {}
        // What listens is dropped with it: nobody connects any more and waits in vain.
        () = accept(arrivals, stack, terms, &connections) => {}
    }
    terms.goodbye.cancel();
    connections.close();
    connections.wait().await;
}

/// Accepts connections until no more can come.
async fn accept<A, I, S>(
    arrivals: Arrivals<impl Stream<Item = io::Result<A>>, impl Open<A, I>>,
    stack: S,
    terms: &Terms,
    connections: &TaskTracker,
) where
    A: Send + 'static,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Stack,
{
    let Arrivals { incoming, open, threads } = arrivals;
    let mut incoming = pin!(incoming);
    while let Some(accepted) = incoming.next().await {
        match accepted {
            Ok(arrival) => {
                let (stack, terms) = (stack.clone(), terms.clone());
                let serving = async move {
                    if let Ok(stream) = open(arrival) {
                        serve_connection(stream, stack, terms).await;
                    }
                };
                match threads.next() {
                    Some(thread) => connections.spawn_on(serving, thread),
                    None => connections.spawn(serving),
                };
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                if !is_of_connection(&error) {
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether an error is that of one connection, and the next one may be accepted at once.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve_connection<I, S>(stream: I, stack: S, terms: Terms)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Stack,
{
    tokio::select! {
        biased;
        () = terms.cut.cancelled() => {}
        () = sleep(terms.age_in_all) => {}
        // Its error is that of the caller, or of the way to it.
        _ = accept_requests(stream, stack, &terms) => {}
    }
}

/// Takes requests until the connection ends. What is still being answered when this is dropped hears that its caller is gone.
async fn accept_requests<I, S>(stream: I, mut stack: S, terms: &Terms) -> Result<(), h2::Error>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Stack,
{
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADERS_BYTES)
        .max_concurrent_streams(terms.max_streams);
    // Who says nothing at first is not pinged yet.
    let patience = terms.keepalive_interval + terms.keepalive_timeout;
    let handshake = builder.handshake::<_, Bytes>(Whole { stream });
    let Ok(connection) = timeout(patience, handshake).await else { return Ok(()) };
    let mut connection = connection?;
    let pings = connection.ping_pong();
    let mut unanswered = pin!(unanswered(pings, terms.keepalive_interval, terms.keepalive_timeout));
    let mut goodbye = pin!(timeout(terms.age, terms.goodbye.cancelled()));
    let mut said_goodbye = false;
    poll_fn(move |context| {
        if !said_goodbye && goodbye.as_mut().poll(context).is_ready() {
            said_goodbye = true;
            connection.graceful_shutdown();
        }
        for _ in 0..REQUESTS_AT_ONCE {
            // No layer is ever busy: who waits, waits with the answer.
            if stack.poll_ready(context).is_pending() {
                return Poll::Pending;
            }
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    tokio::spawn(Answer::Awaited { answer: stack.call(request.map(body_of)), respond });
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return unanswered.as_mut().poll(context).map(Ok),
            }
        }
        // The next ones come after those that were taken, of which what is answered by then leaves first.
        context.waker().wake_by_ref();
        unanswered.as_mut().poll(context).map(Ok)
    })
    .await
}

fn body_of(stream: RecvStream) -> Body {
    Body::new(Received::new(stream).map_err(|error| Status::from_error(Box::new(error))))
}

pin_project! {
    /// The answer to one request, from when it was asked until it is sent. When its caller gives it up, it ends, and what was begun
    /// for it is dropped. A type of its own, because each request is moved to its task whole.
    #[project = AnswerProjection]
    enum Answer<F, B> {
        Awaited { #[pin] answer: F, respond: SendResponse<Bytes> },
        Sent { #[pin] pipe: Pipe<B> },
    }
}

impl<F, B> Future for Answer<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let (answer, respond) = match self.as_mut().project() {
                AnswerProjection::Awaited { answer, respond } => (answer, respond),
                AnswerProjection::Sent { pipe } => return pipe.poll(context),
            };
            let Poll::Ready(Ok(response)) = answer.poll(context) else {
                return respond.poll_reset(context).map(drop);
            };
            let (head, body) = response.into_parts();
            let is_over = body.is_end_stream();
            // It fails where the caller is gone.
            let sent = respond.send_response(Response::from_parts(head, ()), is_over);
            let Some(stream) = sent.ok().filter(|_| !is_over) else { return Poll::Ready(()) };
            self.set(Self::Sent { pipe: Pipe::new(body, stream) });
        }
    }
}

pin_project! {
    /// A connection that takes no vectors. Into such a one, HTTP/2 copies answers of up to a KiB behind each other and writes them at
    /// once; into one that does, each answer above 256 bytes would leave in a write of its own.
    struct Whole<I> {
        #[pin]
        stream: I,
    }
}

impl<I: AsyncRead> AsyncRead for Whole<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().stream.poll_read(context, buffer)
    }
}

impl<I: AsyncWrite> AsyncWrite for Whole<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }
}
