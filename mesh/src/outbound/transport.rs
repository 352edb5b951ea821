//! The bottom of the outbound stack: one HTTP/2 connection to the peer, made when it is first needed and again whenever it is
//! lost, and the one place where errors of the transport become statuses.
//!
//! It stands on h2 alone, and not on tonic's channel, because a call then passes from its own task to that of the connection and
//! back, and through no queue or task between them. That is half of what a call costs its caller.

mod connection;
mod exchange;
mod failure;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

pub(super) use exchange::{Content, Incoming};

use super::size::Limited;
use super::{Address, OutboundConfig};
use crate::environment::Environment;
use connection::Link;
use failure::Failure;

/// Who calls, for the peer's logs.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("gameshelf-mesh/", env!("CARGO_PKG_VERSION")));

/// A connection to one peer whose errors are statuses. Cheap to clone; all clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    link: Arc<Link>,
    authority: Authority,
    peer: Arc<str>,
    max_message_bytes: usize,
}

impl Transport {
    /// Never blocks and never fails: the first call makes the connection, and must run inside a runtime.
    pub(crate) fn new(
        peer: &Arc<str>,
        address: &Address,
        config: &OutboundConfig,
        environment: &Environment,
    ) -> Self {
        Self {
            link: Arc::new(Link::new(address, config, environment)),
            // An address was parsed as the authority of a URI, so that this one is valid.
            authority: address.authority().parse().unwrap_or_else(|_| Authority::from_static("invalid")),
            peer: peer.clone(),
            max_message_bytes: config.max_message_bytes(),
        }
    }

    /// Sends a request and waits for the head of its answer. Dropping the future, or the answer's body, cancels the request.
    /// The answer's messages are not held to any limit.
    pub(super) async fn exchange(&self, head: Parts, content: Content) -> Result<Response<Incoming>, Status> {
        let answer = async {
            let sender = self.link.sender().await?;
            exchange::exchange(sender, self.head(head)?, content, &self.peer).await
        };
        answer.await.map_err(|failure: Failure| failure.status(&self.peer))
    }

    /// The head as it goes to the peer. A generated client leaves it open where that is.
    fn head(&self, head: Parts) -> Result<Request<()>, Failure> {
        let Parts { method, uri, mut headers, .. } = head;
        let mut uri = uri.into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        headers.entry(USER_AGENT).or_insert(AGENT);
        let mut request = Request::new(());
        *request.method_mut() = method;
        // A path is missing from none: a generated client writes it.
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Failure::Closed)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each call waits for the connection.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let answer = transport.exchange(head, Content::Stream(body)).await?;
            Ok(answer.map(|body| Body::new(Limited::new(body, transport.max_message_bytes))))
        })
    }
}
