//! Mends the errors that tonic makes by itself: they have no details, and two of them the wrong code.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{HeaderMap, Request, Response};
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
    type Response = Response<B>;
    type Error = Infallible;
    type Future = MapOk<S::Future, fn(Response<B>) -> Response<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request).map_ok(mend)
    }
}

fn mend<B: Default>(response: Response<B>) -> Response<B> {
    match mended(response.headers()) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// What the error should have been, or none when it may stay as it is.
fn mended(headers: &HeaderMap) -> Option<Status> {
    let code = rpc::code_of(headers)?;
    if code == Code::Ok || headers.contains_key(DETAILS) {
        return None;
    }
    let text = Status::from_header_map(headers)?.message().to_owned();
    match code {
        Code::OutOfRange => too_large(&text),
        Code::Internal if is_malformed(&text) => {
            let message = "the bytes of the message are not a message of the method's type";
            Some(errors::status(Reason::MessageMalformed, message, &[]))
        }
        // tonic's fallback for a path without a service, and its generated code for a method that is not there.
        Code::Unimplemented if !headers.contains_key(MESSAGE) => {
            Some(errors::status(Reason::MethodUnknown, "the server has no such method", &[]))
        }
        _ => None,
    }
}

/// tonic says that a message is over its limit by `OUT_OF_RANGE` and this text alone.
fn too_large(text: &str) -> Option<Status> {
    let rest = text.strip_prefix("Error, decoded message length too large: found ")?;
    let (bytes, rest) = rest.split_once(" bytes, the limit is: ")?;
    let (limit, _) = rest.split_once(" bytes")?;
    let (bytes, limit): (u64, u64) = (bytes.parse().ok()?, limit.parse().ok()?);
    Some(errors::message_too_large(bytes, limit))
}

/// prost's text for bytes that cannot be decoded, which tonic takes for a defect of the server.
fn is_malformed(text: &str) -> bool {
    text.starts_with("failed to decode Protobuf message")
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn mend_status(status: Status) -> Option<Status> {
        mended(status.into_http::<()>().headers())
    }

    #[test]
    fn an_error_with_another_text_or_with_details_stays() {
        assert!(mend_status(Status::out_of_range("the log was compacted")).is_none());
        assert!(mend_status(Status::internal("a defect")).is_none());
        assert!(mend_status(Status::unimplemented("not yet")).is_none());
        assert!(
            mend_status(errors::status(Reason::Panic, "failed to decode Protobuf message", &[])).is_none()
        );
        assert!(mended(&HeaderMap::new()).is_none());
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
