//! Mends the errors that tonic makes by itself: they have no details, and two of them the wrong code.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::errors::{self, Reason};
use crate::rpc;

const DETAILS: &str = "grpc-status-details-bin";
const MESSAGE: &str = "grpc-message";

/// Mends errors on their way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct MendLayer;

impl<S> Layer<S> for MendLayer {
    type Service = Mend<S>;

    fn layer(&self, inner: S) -> Mend<S> {
        Mend { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Mend<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for Mend<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<Mended<B>>;
    type Error = Infallible;
    type Future = MapOk<S::Future, fn(Response<B>) -> Response<Mended<B>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request).map_ok(mend)
    }
}

fn mend<B: Default>(response: Response<B>) -> Response<Mended<B>> {
    match mended_head(response.headers()) {
        Some(status) => status.into_http(),
        None => response.map(|body| Mended { body }),
    }
}

pin_project! {
    /// A body whose trailers are mended. A method that takes a stream has begun its answer when it reads a message that it cannot
    /// take, so that the error of that message is not in the head.
    #[derive(Debug, Default)]
    pub(super) struct Mended<B> {
        #[pin]
        body: B,
    }
}

impl<B: http_body::Body<Data = Bytes, Error = Status>> http_body::Body for Mended<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(self.project().body.poll_frame(context));
        let mended = frame.as_ref().and_then(|frame| mended(frame.as_ref().ok()?.trailers_ref()?));
        Poll::Ready(match mended {
            Some(status) => Some(rpc::trailers(&status)),
            None => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// As [`mended`], for an error without a body, which may also say that there is no such method.
fn mended_head(head: &HeaderMap) -> Option<Status> {
    // tonic's fallback for a path without a service, and its generated code for a method that is not there.
    if rpc::code_of(head)? == Code::Unimplemented
        && !head.contains_key(DETAILS)
        && !head.contains_key(MESSAGE)
    {
        return Some(errors::status(Reason::MethodUnknown, "the server has no such method", &[]));
    }
    mended(head)
}

/// What the error in a head or in trailers should have been, or none when it may stay as it is.
fn mended(headers: &HeaderMap) -> Option<Status> {
    let code = rpc::code_of(headers)?;
    if !matches!(code, Code::OutOfRange | Code::Internal) || headers.contains_key(DETAILS) {
        return None;
    }
    let text = Status::from_header_map(headers)?.message().to_owned();
    if code == Code::OutOfRange {
        return too_large(&text);
    }
    is_malformed(&text).then(|| {
        let message = "the bytes of the message are not a message of the method's type";
        errors::status(Reason::MessageMalformed, message, &[])
    })
}

/// tonic says that a message is over its limit by `OUT_OF_RANGE` and this text alone.
fn too_large(text: &str) -> Option<Status> {
    let rest = text.strip_prefix("Error, decoded message length too large: found ")?;
    let (bytes, rest) = rest.split_once(" bytes, the limit is: ")?;
    let (limit, _) = rest.split_once(" bytes")?;
    let (bytes, limit): (u64, u64) = (bytes.parse().ok()?, limit.parse().ok()?);
    Some(errors::message_too_large(bytes, limit))
}

/// What tonic takes for a defect of the server where a request is not what gRPC says: prost's text for bytes that cannot be decoded,
/// and its own for a frame that is not whole, has a flag that there is not, or is missing. It says of an answer that it was received,
/// and that is not its caller's doing.
fn is_malformed(text: &str) -> bool {
    const TEXTS: [&str; 4] = [
        "failed to decode Protobuf message",
        "Unexpected EOF decoding stream.",
        "Missing request message.",
        "protocol error: received message with",
    ];
    TEXTS.iter().any(|start| text.starts_with(start)) && !text.contains("while receiving response")
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn mend_status(status: Status) -> Option<Status> {
        mended_head(status.into_http::<()>().headers())
    }

    #[test]
    fn an_error_with_another_text_or_with_details_stays() {
        assert!(mend_status(Status::out_of_range("the log was compacted")).is_none());
        assert!(mend_status(Status::internal("a defect")).is_none());
        assert!(mend_status(Status::unimplemented("not yet")).is_none());
        assert!(
            mend_status(errors::status(Reason::Panic, "failed to decode Protobuf message", &[])).is_none()
        );
        assert!(mended_head(&HeaderMap::new()).is_none());
    }

    #[test]
    fn the_text_is_the_one_that_prost_gives() {
        let error = tonic_health::pb::HealthCheckRequest::decode(&b"\xff"[..]).unwrap_err();
        let mended = mend_status(Status::internal(error.to_string())).unwrap();
        assert_eq!(errors::reason_of(&mended), Some(Reason::MessageMalformed));
    }

    #[test]
    fn a_path_without_a_service_is_named_as_such() {
        let mended = mend_status(Status::unimplemented("")).unwrap();
        assert_eq!(errors::reason_of(&mended), Some(Reason::MethodUnknown));
    }
}
