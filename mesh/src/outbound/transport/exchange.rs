//! One request over a connection, and its answer as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::poll;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::body::Body;

use super::failure::Failure;

/// What a request has after its head.
#[derive(Debug)]
pub(in crate::outbound) enum Content {
    /// All of it.
    Whole(Bytes),
    /// What comes.
    Stream(Body),
}

/// Sends a request and waits for the head of its answer. Dropping the future, or the answer's body, cancels the request.
pub(super) async fn exchange(
    mut sender: SendRequest<Bytes>,
    head: Request<()>,
    content: Content,
    peer: &Arc<str>,
) -> Result<Response<Incoming>, Failure> {
    let (answer, mut stream) = sender.send_request(head, false)?;
    let mut sending = None;
    match content {
        // It is in memory already: what the peer does not take yet waits there.
        Content::Whole(bytes) => stream.send_data(bytes, true)?,
        Content::Stream(body) => {
            let mut piping = Box::pin(pipe(body, stream));
            // Most are one message, which is there.
            if poll!(&mut piping).is_pending() {
                sending = Some(Sending(tokio::spawn(piping).abort_handle()));
            }
        }
    }
    let (head, receiving) = answer.await?.into_parts();
    let peer = peer.clone();
    Ok(Response::from_parts(head, Incoming { receiving, has_data: true, peer, _sending: sending }))
}

/// The task that sends what comes of a request; it ends with the answer.
#[derive(Debug)]
struct Sending(AbortHandle);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a body to its end, no faster than the peer takes it.
async fn pipe(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            // The peer wants no more of it.
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
        };
        let data = match frame {
            None => Bytes::new(),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                // A caller has no trailers in gRPC.
                Err(_) => continue,
            },
            // Whoever makes the request sees what went wrong with it.
            Some(Err(_)) => return stream.send_reset(Reason::CANCEL),
        };
        let is_last = data.is_empty() || body.is_end_stream();
        if !data.is_empty() {
            stream.reserve_capacity(data.len());
            while stream.capacity() == 0 {
                match poll_fn(|context| stream.poll_capacity(context)).await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                }
            }
        }
        if stream.send_data(data, is_last).is_err() || is_last {
            return;
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(in crate::outbound) struct Incoming {
    receiving: RecvStream,
    /// Whether data may still come, before the trailers.
    has_data: bool,
    peer: Arc<str>,
    _sending: Option<Sending>,
}

impl Incoming {
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let Some(data) = ready!(self.receiving.poll_data(context)) else { return Poll::Ready(None) };
        Poll::Ready(Some(data.and_then(|data| {
            // What was taken makes room for more.
            self.receiving.flow_control().release_capacity(data.len()).map(|()| data)
        })))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let data = if self.has_data { ready!(self.poll_data(context)) } else { None };
        self.has_data = data.is_some();
        let frame = if let Some(data) = data {
            Some(data.map(Frame::data))
        } else {
            let trailers = ready!(self.receiving.poll_trailers(context));
            trailers.map(|trailers| trailers.map(Frame::trailers)).transpose()
        };
        // A connection that is lost while the answer arrives is an error of the transport as well.
        Poll::Ready(frame.map(|frame| frame.map_err(|error| Failure::from(error).status(&self.peer))))
    }

    fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
