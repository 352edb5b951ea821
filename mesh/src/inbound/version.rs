//! Tells with every answer which version gave it, and refuses a caller that cannot use this version: what it asks
//! may mean something else here.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::errors::{self, Reason};
use crate::rpc::{self, Stamp, Stamped};
use crate::version::{Description, REQUIRES_HEADER, Requirement, TRIED_HEADER, VERSION_HEADER, Version};

/// Adds the version to answers and refuses callers that cannot use it. Without a version it lets everything through.
#[derive(Clone, Debug)]
pub(super) struct VersionLayer {
    stated: Option<Arc<Stated>>,
}

#[derive(Debug)]
pub(super) struct Stated {
    name: String,
    version: Version,
    header: HeaderValue,
}

impl VersionLayer {
    pub(super) fn new(description: Option<&Description>) -> Self {
        let stated = description.and_then(|description| {
            // A semantic version is of digits, dots, letters, plus and hyphen, which all may stand in a header.
            let header = HeaderValue::from_str(&description.version.to_string()).ok()?;
            let (name, version) = (description.name.clone(), description.version.clone());
            Some(Arc::new(Stated { name, version, header }))
        });
        Self { stated }
    }
}

impl Stated {
    /// Why a request is refused; none where the version meets it, or where it requires nothing.
    fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Status> {
        // How a caller finds out what this is must never be refused.
        if rpc::is_infrastructure(path) {
            return None;
        }
        let required = headers.get(REQUIRES_HEADER)?;
        let range = required.to_str().ok().and_then(|text| text.parse::<Requirement>().ok());
        let Some(range) = range else { return Some(malformed(required)) };
        if range.is_met_by(&self.version) {
            return None;
        }
        Some(errors::status(
            Reason::VersionIncompatible,
            format!("{} {} does not meet the required {range}", self.name, self.version),
            &[
                ("service", self.name.clone()),
                ("version", self.version.to_string()),
                ("required", range.to_string()),
            ],
        ))
    }
}

fn malformed(required: &HeaderValue) -> Status {
    let given = String::from_utf8_lossy(required.as_bytes()).into_owned();
    let message = "the header mesh-requires is not a caret range within one major version, such as ^1.2";
    errors::status(
        Reason::RequirementMalformed,
        message,
        &[("header", REQUIRES_HEADER.to_string()), ("required", given)],
    )
}

impl<S> Layer<S> for VersionLayer {
    type Service = Versioned<S>;

    fn layer(&self, inner: S) -> Versioned<S> {
        Versioned { inner, stated: self.stated.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Versioned<S> {
    inner: S,
    stated: Option<Arc<Stated>>,
}

/// Adds the version to an answer.
pub(super) struct Tell(Option<Arc<Stated>>);

impl Stamp for Tell {
    fn stamp(&self, headers: &mut HeaderMap) {
        // Whom the service asked for this is between it and them. A status that is handed on would tell.
        headers.remove(TRIED_HEADER);
        if let Some(stated) = &self.0 {
            headers.insert(VERSION_HEADER, stated.header.clone());
        }
    }
}

impl<S, B> Service<Request<Body>> for Versioned<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Stamped<S::Future, Tell, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let tell = Tell(self.stated.clone());
        let stated = self.stated.as_ref();
        match stated.and_then(|stated| stated.refusal(request.uri().path(), request.headers())) {
            Some(status) => Stamped::answered(status.into_http(), &tell),
            None => Stamped::waiting(self.inner.call(request), tell),
        }
    }
}
