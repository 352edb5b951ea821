//! One request over a connection, and its answer as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::poll;
use h2::client::SendRequest;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::body::Body;

use super::failure::Failure;
use crate::http2::{Pipe, Received};

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
            let mut piping = Box::pin(Pipe::new(body, stream));
            // Most are one message, which is there.
            if poll!(&mut piping).is_pending() {
                sending = Some(Sending(tokio::spawn(piping).abort_handle()));
            }
        }
    }
    let (head, receiving) = answer.await?.into_parts();
    let body = Incoming { received: Received::new(receiving), peer: peer.clone(), _sending: sending };
    Ok(Response::from_parts(head, body))
}

/// The task that sends what comes of a request; it ends with the answer.
#[derive(Debug)]
struct Sending(AbortHandle);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(in crate::outbound) struct Incoming {
    received: Received,
    peer: Arc<str>,
    _sending: Option<Sending>,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.received).poll_frame(context));
        // A connection that is lost while the answer arrives is an error of the transport as well.
        Poll::Ready(frame.map(|frame| frame.map_err(|error| Failure::from(error).status(&self.peer))))
    }

    fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.received.size_hint()
    }
}
