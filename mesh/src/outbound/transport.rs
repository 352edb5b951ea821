//! The bottom of the outbound stack: one HTTP/2 connection to the peer, made when it is first needed and again
//! whenever it is lost, and the one place where errors of the transport become statuses.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::{Service, service_fn};

use super::size::Limited;
use super::{Address, OutboundConfig};
use crate::environment::Environment;
use crate::errors::{self, Reason};

/// A connection to one peer whose errors are statuses.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    channel: Channel,
    peer: Arc<str>,
    max_message_bytes: usize,
}

impl Transport {
    /// Never blocks and never fails: the first call makes the connection. Must run inside a runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where connections are made")]
    pub(crate) fn new(
        peer: &Arc<str>,
        address: &Address,
        config: &OutboundConfig,
        environment: &Environment,
    ) -> Self {
        let endpoint = Endpoint::from(uri_of(address))
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            // A partition closes no connection: without pings a stream on it would wait for ever.
            .http2_keep_alive_interval(Duration::from_millis(config.keepalive_interval_ms))
            .keep_alive_timeout(Duration::from_millis(config.keepalive_timeout_ms))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let connector = environment.connector.clone();
        let (host, port) = (address.host().to_owned(), address.port());
        let connect = service_fn(move |_: Uri| {
            let connecting = connector.connect(host.clone(), port);
            async move { connecting.await.map(TokioIo::new) }
        });
        Self {
            channel: endpoint.connect_with_connector_lazy(connect),
            peer: peer.clone(),
            max_message_bytes: config.max_message_bytes(),
        }
    }
}

fn uri_of(address: &Address) -> Uri {
    // An address was parsed as the authority of a URI, so that this one is valid.
    address.to_string().parse().unwrap_or_default()
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.channel.poll_ready(context).map_err(|error| status_of(&self.peer, error.into()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.channel.call(request);
        let (peer, limit) = (self.peer.clone(), self.max_message_bytes);
        Box::pin(async move {
            match answer.await {
                Ok(response) => Ok(response.map(|body| {
                    // A connection that is lost while the answer arrives is an error of the transport as well.
                    let body = body.map_err(move |status| status_of(&peer, Box::new(status)));
                    Body::new(Limited::new(body, limit))
                })),
                Err(error) => Err(status_of(&peer, error.into())),
            }
        })
    }
}

/// The status for an error of the transport. A peer's own answer never comes here.
///
/// Its text stays out of the message, because a service may hand the status on to its own callers.
fn status_of(peer: &str, error: Box<dyn Error + Send + Sync>) -> Status {
    let expired = is_expired(&*error);
    let found = Status::from_error(error);
    tracing::debug!(target: "mesh::transport", peer, code = ?found.code(), error = found.message(), "transport error");
    if expired {
        return errors::status(Reason::DeadlineExceeded, "the deadline passed", &[("peer", peer.to_owned())]);
    }
    match found.code() {
        // What the peer says about this very stream is kept.
        code @ (Code::ResourceExhausted | Code::PermissionDenied) => {
            Status::new(code, format!("{peer} refused the stream"))
        }
        // tonic tells a connection that was dropped as UNAVAILABLE, UNKNOWN, CANCELLED or INTERNAL, by chance.
        _ => errors::status(
            Reason::Unreachable,
            format!("{peer} cannot be reached, or the connection to it was lost"),
            &[("peer", peer.to_owned())],
        ),
    }
}

fn is_expired(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_unavailable_however_tonic_tells_it() {
        for code in [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal] {
            let status = status_of("peer", Box::new(Status::new(code, "/secret/path")));
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(errors::reason_of(&status), Some(Reason::Unreachable));
            assert!(!status.message().contains("secret"));
        }
    }

    #[test]
    fn what_the_peer_says_about_the_stream_is_kept() {
        let status = status_of("peer", Box::new(Status::resource_exhausted("calm down")));
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}
