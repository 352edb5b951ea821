//! One attempt of a call: what every request carries on the wire, and the timeout for the answer to begin.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::deadline::CallDeadline;
use crate::deadline::{GRPC_TIMEOUT, timeout_value};
use crate::{errors, trace};

/// Limits each attempt, and writes its headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptLayer {
    pub(super) timeout: Duration,
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Attempt<S> {
        Attempt { inner, timeout: self.timeout }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Attempt<S> {
    inner: S,
    timeout: Duration,
}

impl<S> Service<Request<Body>> for Attempt<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // Written for each attempt: the span is known only now, and less is left of the deadline than before.
        trace::inject(request.headers_mut());
        let mut timeout = self.timeout;
        if let Some(CallDeadline { at: deadline, .. }) = request.extensions().get() {
            timeout = timeout.min(deadline.saturating_duration_since(Instant::now()));
            request.headers_mut().insert(GRPC_TIMEOUT, timeout_value(timeout));
        }
        // Without a deadline it is a stream: told to the peer, the timeout would end it after it has begun.
        let answer = self.inner.call(request);
        Box::pin(async move {
            tokio::time::timeout(timeout, answer)
                .await
                .unwrap_or_else(|_| Err(errors::deadline_exceeded(timeout)))
        })
    }
}
