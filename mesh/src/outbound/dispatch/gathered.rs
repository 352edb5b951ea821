//! The body of an answer that has arrived to its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tonic::Status;

use crate::errors;
use crate::outbound::size::PREFIX_BYTES;

/// All of a body.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl Gathered {
    /// Waits for all of a body, of which at most one message is held, whatever the server sends.
    pub(super) async fn of<B>(mut body: B, max_message_bytes: usize) -> Result<Self, Status>
    where
        B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
    {
        let limit = max_message_bytes.saturating_add(PREFIX_BYTES);
        let mut gathered = Self::default();
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    if gathered.data.len().saturating_add(data.len()) > limit {
                        let found = format_args!("more than {max_message_bytes}");
                        return Err(errors::message_too_large(found, max_message_bytes));
                    }
                    gathered.push(data);
                }
                Err(frame) => gathered.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(gathered)
    }

    fn push(&mut self, data: Bytes) {
        if self.data.is_empty() {
            self.data = data;
            return;
        }
        // A short answer is one piece; what comes in several is put together without copying the first ones again, where
        // nobody else holds them.
        let mut all =
            std::mem::take(&mut self.data).try_into_mut().unwrap_or_else(|data| BytesMut::from(&*data));
        all.extend_from_slice(&data);
        self.data = all.freeze();
    }

    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}

impl http_body::Body for Gathered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use proptest::prelude::*;
    use tonic::body::Body;

    use super::*;

    fn body(pieces: &[Vec<u8>], trailers: &HeaderMap) -> Body {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
        let frames: Vec<_> = data.chain([Frame::trailers(trailers.clone())]).map(Ok::<_, Status>).collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_however_it_was_cut(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8),
        ) {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let gathered = runtime.block_on(Gathered::of(body(&pieces, &trailers), 1_000)).unwrap();
            prop_assert_eq!(gathered.trailers(), Some(&trailers));
            let again = runtime.block_on(gathered.collect()).unwrap();
            prop_assert_eq!(again.trailers(), Some(&trailers));
            prop_assert_eq!(again.to_bytes(), Bytes::from(pieces.concat()));
        }

        #[test]
        fn no_more_than_one_message_is_held(length in 0usize..40, limit in 0usize..30) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let pieces = vec![vec![0; 3]; length];
            let gathered = runtime.block_on(Gathered::of(body(&pieces, &HeaderMap::new()), limit));
            prop_assert_eq!(gathered.is_ok(), length * 3 <= limit + PREFIX_BYTES);
        }
    }
}
