//! A body as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

/// What comes on a stream after its head. What is taken of it makes room for more.
#[derive(Debug)]
pub(crate) struct Received {
    stream: RecvStream,
    /// Whether data may still come, before the trailers.
    has_data: bool,
}

impl Received {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, has_data: true }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        if !self.has_data {
            return Poll::Ready(None);
        }
        let Some(data) = ready!(self.stream.poll_data(context)) else {
            self.has_data = false;
            return Poll::Ready(None);
        };
        Poll::Ready(Some(
            data.and_then(|data| self.stream.flow_control().release_capacity(data.len()).map(|()| data)),
        ))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.poll_data(context)) {
            return Poll::Ready(Some(data.map(Frame::data)));
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
