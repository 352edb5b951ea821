//! The limit of what is received. A generated client has one too, but tells it as a bare `OUT_OF_RANGE`, which means
//! something else to the callers of some services; this one stands before it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;

use crate::errors;

/// What gRPC puts before each message: a flag and the length.
pub(super) const PREFIX_BYTES: usize = 5;

pin_project! {
    /// An answer's body that ends with an error at a message over the limit.
    #[derive(Debug)]
    pub(super) struct Limited<B> {
        #[pin]
        body: B,
        messages: Messages,
    }
}

impl<B> Limited<B> {
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self { body, messages: Messages { limit, prefix: [0; PREFIX_BYTES], filled: 0, left: 0 } }
    }
}

impl<B: Body<Data = Bytes, Error = Status>> Body for Limited<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(bytes) = this.messages.read(data)
        {
            return Poll::Ready(Some(Err(errors::message_too_large(bytes, this.messages.limit))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in the sequence of messages the reader stands; a frame of HTTP/2 may end anywhere in it.
#[derive(Debug)]
struct Messages {
    limit: usize,
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that were read.
    filled: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Messages {
    /// Reads on; the length of the first message over the limit is an error.
    fn read(&mut self, mut data: &[u8]) -> Result<(), usize> {
        while !data.is_empty() {
            if self.left > 0 {
                let (_, rest) = data.split_at(self.left.min(data.len()));
                self.left -= data.len() - rest.len();
                data = rest;
                continue;
            }
            let (start, rest) = data.split_at((PREFIX_BYTES - self.filled).min(data.len()));
            self.prefix[self.filled..self.filled + start.len()].copy_from_slice(start);
            self.filled += start.len();
            data = rest;
            if self.filled == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.filled = 0;
                if self.left > self.limit {
                    return Err(self.left);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(lengths: &[usize]) -> Vec<u8> {
        let mut wire = Vec::new();
        for length in lengths {
            wire.push(0);
            wire.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
            wire.extend(std::iter::repeat_n(7, *length));
        }
        wire
    }

    proptest! {
        #[test]
        fn the_first_message_over_the_limit_is_found_however_the_bytes_are_cut(
            lengths in proptest::collection::vec(0usize..40, 0..8),
            limit in 0usize..40,
            step in 1usize..50,
        ) {
            let mut messages = Limited::new((), limit).messages;
            let found = wire(&lengths).chunks(step).try_for_each(|chunk| messages.read(chunk));
            let expected = lengths.iter().find(|length| **length > limit).map_or(Ok(()), |length| Err(*length));
            prop_assert_eq!(found, expected);
        }
    }
}
