//! A body as it goes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

pin_project! {
    /// Sends a body to its end. A piece is taken of it only when the peer has room for some of it: a reader who is slow holds
    /// nobody's memory. Ends early when the peer wants no more, and resets the stream when the body fails.
    #[derive(Debug)]
    pub(crate) struct Pipe<B> {
        #[pin]
        body: B,
        stream: SendStream<Bytes>,
    }
}

impl<B> Pipe<B> {
    pub(crate) fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream }
    }
}

impl<B: Body<Data = Bytes>> Future for Pipe<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if !ready!(poll_room(this.stream, context)) {
                return Poll::Ready(());
            }
            let Poll::Ready(frame) = this.body.as_mut().poll_frame(context) else {
                // Whoever waits for a body that has nothing now hears when nobody waits for it any more.
                return this.stream.poll_reset(context).map(drop);
            };
            let is_over = match frame {
                // It fails where the peer is gone, here as below.
                None => {
                    let _ = this.stream.send_data(Bytes::new(), true);
                    true
                }
                // Whoever made the body knows what went wrong with it.
                Some(Err(_)) => {
                    this.stream.send_reset(Reason::INTERNAL_ERROR);
                    true
                }
                Some(Ok(frame)) => send(frame, this.body.is_end_stream(), this.stream),
            };
            if is_over {
                return Poll::Ready(());
            }
        }
    }
}

/// Waits until there is room for something; whether anybody still wants it. How much comes is not known; that some of it can go is
/// enough, and h2 keeps the rest.
fn poll_room(stream: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<bool> {
    stream.reserve_capacity(1);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(context)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(false),
        }
    }
    Poll::Ready(true)
}

/// Sends a frame; whether nothing can follow it.
fn send(frame: Frame<Bytes>, is_last: bool, stream: &mut SendStream<Bytes>) -> bool {
    match frame.into_data() {
        Ok(data) => stream.send_data(data, is_last).is_err() || is_last,
        Err(frame) => {
            if let Ok(trailers) = frame.into_trailers() {
                // Room that was asked for is not needed: trailers take none.
                stream.reserve_capacity(0);
                let _ = stream.send_trailers(trailers);
            }
            true
        }
    }
}
