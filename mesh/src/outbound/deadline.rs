//! The deadline of a call: the shortest of the configured timeout, what is left of the request being served, and what
//! the caller set on the call itself. It holds for all attempts and for the answer's body.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::deadline::{GRPC_TIMEOUT, remaining, timeout_of};
use crate::errors;
use crate::rpc::{Ending, Until};

/// When the call ends at the latest; the layers below read it from the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallDeadline {
    pub(super) at: Instant,
    /// The time from the beginning of the call until then, which is told when it has passed.
    pub(super) timeout: Duration,
}

/// Ends calls at their deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineLayer {
    pub(super) timeout: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, timeout: self.timeout }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    timeout: Duration,
}

impl<S> Service<Request<Body>> for Deadline<S>
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
        let CallDeadline { at, timeout } = match begin(&mut request, self.timeout) {
            Ok(begun) => begun,
            Err(status) => return Box::pin(std::future::ready(Err(status))),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(at, answer).await {
                Ok(answer) => answer.map(|response| response.map(|body| ending_at(at, timeout, body))),
                Err(_) => Err(errors::deadline_exceeded(timeout)),
            }
        })
    }
}

/// Decides when a call ends, takes what its caller said of it out of the headers, and notes it for the layers below. A call for
/// which nothing is left is not begun.
fn begin(request: &mut Request<Body>, timeout: Duration) -> Result<CallDeadline, Status> {
    let own = timeout_of(request.headers());
    let timeout = [own, remaining()].into_iter().flatten().fold(timeout, Duration::min);
    if timeout.is_zero() {
        return Err(errors::deadline_exceeded(timeout));
    }
    // Each attempt writes what is left by then.
    request.headers_mut().remove(GRPC_TIMEOUT);
    let deadline = CallDeadline { at: Instant::now() + timeout, timeout };
    request.extensions_mut().insert(deadline);
    Ok(deadline)
}

/// Notes the deadline of each call for a layer below that keeps it: whatever is waited for there ends by it, and the answer has
/// arrived to its end. One timer fewer for each call.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineNoteLayer {
    pub(super) timeout: Duration,
}

impl<S> Layer<S> for DeadlineNoteLayer {
    type Service = DeadlineNote<S>;

    fn layer(&self, inner: S) -> DeadlineNote<S> {
        DeadlineNote { inner, timeout: self.timeout }
    }
}

#[derive(Clone, Debug)]
pub(super) struct DeadlineNote<S> {
    inner: S,
    timeout: Duration,
}

impl<S> Service<Request<Body>> for DeadlineNote<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Status>,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Status>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match begin(&mut request, self.timeout) {
            Ok(_) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Err(status))),
        }
    }
}

fn ending_at(deadline: Instant, timeout: Duration, body: Body) -> Body {
    let end = async move {
        tokio::time::sleep_until(deadline).await;
        errors::deadline_exceeded(timeout)
    };
    Body::new(Until::new(body, Some(end), Ending::Error))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A peer that notes which deadline it was given, and never answers.
    fn silent(
        seen: Arc<Mutex<Vec<Duration>>>,
    ) -> impl Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Status,
        Future = impl Future<Output = Result<Response<Body>, Status>> + Send + 'static,
    > {
        tower::service_fn(move |request: Request<Body>| {
            let CallDeadline { at: deadline, .. } = *request.extensions().get().unwrap();
            seen.lock().unwrap().push(deadline - Instant::now());
            std::future::pending()
        })
    }

    async fn timeout_with(ambient: Option<Duration>, own: Option<&str>) -> (Vec<Duration>, Status, Duration) {
        let seen = std::sync::Arc::default();
        let mut service =
            DeadlineLayer { timeout: Duration::from_secs(5) }.layer(silent(Clone::clone(&seen)));
        let mut request = Request::new(Body::empty());
        if let Some(own) = own {
            request.headers_mut().insert(GRPC_TIMEOUT, own.parse().unwrap());
        }
        let began = Instant::now();
        let deadline = ambient.map(|ambient| began + ambient);
        let answer = crate::deadline::scope(deadline, async { service.call(request).await }).await;
        let seen = seen.lock().unwrap().clone();
        (seen, answer.unwrap_err(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_of_the_three_counts() {
        for (ambient, own, expected) in [
            (None, None, 5_000),
            (Some(2_000), None, 2_000),
            (Some(60_000), None, 5_000),
            (Some(2_000), Some("1S"), 1_000),
            (Some(500), Some("1S"), 500),
        ] {
            let (seen, status, took) = timeout_with(ambient.map(Duration::from_millis), own).await;
            assert_eq!(seen, [Duration::from_millis(expected)]);
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
            assert!(took >= Duration::from_millis(expected) && took < Duration::from_millis(expected + 5));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_not_begun_when_nothing_is_left() {
        let (seen, status, _) = timeout_with(Some(Duration::ZERO), None).await;
        assert!(seen.is_empty());
        assert_eq!(errors::reason_of(&status), Some(errors::Reason::DeadlineExceeded));
    }
}
