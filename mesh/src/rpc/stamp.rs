//! An answer to whose head a layer adds something, or which the layer gives itself.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Response};
use pin_project_lite::pin_project;

/// What is added to the head of an answer.
pub(crate) trait Stamp {
    /// Adds it.
    fn stamp(&self, headers: &mut HeaderMap);
}

pin_project! {
    /// An answer that is waited for, to be stamped then; or one that is there.
    #[project = StampedProjection]
    pub(crate) enum Stamped<F, T, B> {
        Waiting { #[pin] inner: F, stamp: T },
        Answered { response: Option<Response<B>> },
    }
}

impl<F, T: Stamp, B> Stamped<F, T, B> {
    /// Stamps the answer when it comes.
    pub(crate) fn waiting(inner: F, stamp: T) -> Self {
        Self::Waiting { inner, stamp }
    }

    /// Stamps this answer.
    pub(crate) fn answered(mut response: Response<B>, stamp: &T) -> Self {
        stamp.stamp(response.headers_mut());
        Self::Answered { response: Some(response) }
    }
}

impl<F, T, B> Future for Stamped<F, T, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    T: Stamp,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            StampedProjection::Waiting { inner, stamp } => {
                let mut answer = ready!(inner.poll(context));
                if let Ok(response) = &mut answer {
                    stamp.stamp(response.headers_mut());
                }
                Poll::Ready(answer)
            }
            // A future is not polled again once it is ready.
            StampedProjection::Answered { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}
