//! A body that ends early when something else ends first: a deadline, say.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;

/// How a body that ends early says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By trailers, as a server answers.
    Trailers,
    /// By an error, as a client sees it.
    Error,
}

pin_project! {
    /// A body that ends when the future does, with the future's status.
    #[derive(Debug)]
    pub(crate) struct Until<B, F> {
        #[pin]
        body: B,
        #[pin]
        end: Option<F>,
        ending: Ending,
        ended: bool,
    }
}

impl<B, F> Until<B, F> {
    pub(crate) fn new(body: B, end: Option<F>, ending: Ending) -> Self {
        Self { body, end, ending, ended: false }
    }
}

impl<B: Default, F> Default for Until<B, F> {
    /// An empty body, as an error has that is told in the head.
    fn default() -> Self {
        Self::new(B::default(), None, Ending::Trailers)
    }
}

impl<B, F> Body for Until<B, F>
where
    B: Body<Data = Bytes, Error = Status>,
    F: Future<Output = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        // What is there is handed over first: an answer that is ready is not thrown away for being late.
        if let Poll::Ready(frame) = this.body.poll_frame(context) {
            return Poll::Ready(frame);
        }
        let Some(end) = this.end.as_mut().as_pin_mut() else { return Poll::Pending };
        let Poll::Ready(status) = end.poll(context) else { return Poll::Pending };
        this.end.set(None);
        *this.ended = true;
        Poll::Ready(Some(match this.ending {
            Ending::Error => Err(status),
            Ending::Trailers => trailers(&status),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.end.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// The trailers by which a server ends an answer that it has begun.
pub(crate) fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;

    use super::*;

    fn endless() -> impl Body<Data = Bytes, Error = Status> + Unpin {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"one")))]);
        StreamBody::new(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
    }

    fn over() -> std::future::Ready<Status> {
        std::future::ready(Status::deadline_exceeded("over"))
    }

    #[tokio::test]
    async fn a_server_ends_by_trailers_after_what_was_ready() {
        let mut body = Box::pin(Until::new(endless(), Some(over()), Ending::Trailers));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(super::super::code_of(&trailers), Some(Code::DeadlineExceeded));
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_client_ends_by_an_error() {
        let mut body = Box::pin(Until::new(endless(), Some(over()), Ending::Error));
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(body.frame().await.is_none());
    }
}
