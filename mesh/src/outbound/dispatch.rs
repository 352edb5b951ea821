//! Calling a service that has several instances, of several versions perhaps: the layers of it are read top to bottom in
//! [`Dispatch::calls`].

mod answers;
mod attempt;
mod breaker;
mod budget;
mod choice;
mod config;
mod follow;
mod gathered;
mod instance;
mod instances;
mod load;
mod meters;
mod outcome;
mod pursue;
mod shared;
mod tried;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::timeout_at;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};

pub use config::{DispatchConfig, Policy};
pub use instance::{Condition, InstanceReport};

use super::causal::CausalLayer;
use super::deadline::{CallDeadline, DeadlineNoteLayer};
use super::discovery::Discovery;
use super::retry::buffer;
use super::trace::TraceLayer;
use super::{Calls, Streams};
use crate::environment::Environment;
use crate::errors;
use crate::rpc::{Instruments, Side};
use crate::version::{Requirement, TRIED};
use attempt::{Call, Kind};
use budget::Budget;
use instances::Instances;
use meters::Meters;
use shared::Shared;

/// A service by its name and the versions that will do, whatever instances of it there are. Cheap to clone; all clones
/// share the instances, their connections and the budget.
#[derive(Clone, Debug)]
pub struct Dispatch {
    shared: Arc<Shared>,
    config: Arc<DispatchConfig>,
    policies: Arc<HashMap<String, Policy>>,
    trace: TraceLayer,
}

impl Dispatch {
    /// Begins to find and to follow the instances, which takes no call. Never blocks and never fails; must run inside a
    /// tokio runtime. It ends with the last clone, and the last client made of it.
    #[must_use]
    pub fn new(
        name: &str,
        requirement: &Requirement,
        discovery: &dyn Discovery,
        config: &DispatchConfig,
        environment: &Environment,
    ) -> Self {
        let name: Arc<str> = Arc::from(name);
        let edge = environment.seen.edge(&name);
        let trace = TraceLayer {
            instruments: Instruments::new(Side::Client, environment),
            random: environment.random.clone(),
            edge: edge.clone(),
            is_timed: true,
            address: None,
        };
        let shared = Shared {
            instances: Instances::follow(&name, discovery.endpoints(), config, environment),
            requires: requirement.header(),
            requirement: requirement.clone(),
            budget: Budget::new(config),
            environment: environment.clone(),
            meters: Meters::new(&edge),
            edge,
            max_message_bytes: config.outbound.max_message_bytes(),
            name,
        };
        let shared = Arc::new(shared);
        meters::observe(&shared);
        shared::look(&shared);
        Self { shared, config: Arc::new(config.clone()), policies: Arc::default(), trace }
    }

    /// Gives a method (`/package.Service/Method`) a policy of its own, for the clients made from now on.
    #[must_use]
    pub fn with_policy(mut self, path: impl Into<String>, policy: Policy) -> Self {
        Arc::make_mut(&mut self.policies).insert(path.into(), policy);
        self
    }

    /// For unary calls.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let stack = ServiceBuilder::new()
            // Outermost, so that one span shows the whole call: its attempts, its waits, its outcome.
            .layer(self.trace.clone())
            // What was seen is the call's, whichever attempt is answered.
            .layer(CausalLayer)
            // Above the attempts, because the deadline is the caller's and holds for all of them together.
            .layer(DeadlineNoteLayer { timeout: self.config.outbound.timeout() })
            // Chooses an instance for each attempt, and keeps the deadline.
            .service(self.dispatching(Kind::Unary));
        Calls { stack: BoxCloneSyncService::new(stack) }
    }

    /// For server streams whose request is one message. A stream is opened at the best instance, and goes on there; its
    /// reader resumes it where it ends.
    #[must_use]
    pub fn streams(&self) -> Streams {
        let stack = ServiceBuilder::new()
            .layer(TraceLayer { is_timed: false, ..self.trace.clone() })
            .layer(CausalLayer)
            .service(self.dispatching(Kind::Stream));
        Streams { stack: BoxCloneSyncService::new(stack) }
    }

    /// The instances as they are seen from here, by address.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceReport> {
        self.shared.instances.reports()
    }

    /// Waits until the instances are as the caller wants them, or the time is over; whether they are.
    pub async fn wait_for(&self, wait: Duration, holds: impl Fn(&[InstanceReport]) -> bool) -> bool {
        self.shared.instances.wait_for(wait, || holds(&self.instances())).await;
        holds(&self.instances())
    }

    /// The answer of a call, or, where nobody could give one, what the caller has instead: a local copy, a cache, less
    /// data. What was tried is told with either. The fallback is given the status with which the call failed, and may
    /// itself refuse with it.
    ///
    /// # Errors
    /// With a status that is an answer (`NOT_FOUND`, say), and with the fallback's.
    pub async fn or_else<T, F, Fut>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
        fallback: F,
    ) -> Result<tonic::Response<T>, Status>
    where
        F: FnOnce(Status) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let status = match call.await {
            Err(status) if nobody_answered(&status) => status,
            answer => return answer,
        };
        let tried = status.metadata().get(TRIED).and_then(|tried| tried.to_str().ok());
        let tried = tried.map_or_else(|| "fallback".to_owned(), |tried| format!("{tried}, fallback"));
        tracing::debug!(target: "mesh::dispatch", peer = &*self.shared.name, tried, "nobody answered: the caller's fallback");
        let mut response = tonic::Response::new(fallback(status).await?);
        if let Ok(tried) = tried.parse() {
            response.metadata_mut().insert(TRIED, tried);
        }
        Ok(response)
    }

    fn dispatching(&self, kind: Kind) -> Dispatching {
        Dispatching {
            kind,
            shared: self.shared.clone(),
            config: self.config.clone(),
            policies: self.policies.clone(),
        }
    }
}

/// Whether a status says that no instance could answer, rather than what one has answered.
fn nobody_answered(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unimplemented)
}

/// Sends each call to the instances in turn.
#[derive(Clone, Debug)]
struct Dispatching {
    kind: Kind,
    shared: Arc<Shared>,
    config: Arc<DispatchConfig>,
    policies: Arc<HashMap<String, Policy>>,
}

impl Dispatching {
    async fn dispatch(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let deadline = parts.extensions.get::<CallDeadline>().copied();
        // Nobody below reads the rest, which each attempt would copy.
        parts.extensions.clear();
        let body = buffer(body, self.shared.max_message_bytes);
        let body = match deadline {
            Some(CallDeadline { at, timeout }) => {
                timeout_at(at, body).await.map_err(|_| errors::deadline_exceeded(timeout))?
            }
            None => body.await,
        }?;
        let policy = self.policies.get(parts.uri.path()).copied().unwrap_or_else(|| self.config.policy());
        let attempt_timeout = match self.kind {
            Kind::Unary => Duration::from_millis(policy.attempt_timeout_ms),
            Kind::Stream => self.config.outbound.attempt_timeout(),
        };
        let method = self.shared.edge.method(parts.uri.path());
        let requires = self.shared.requires.clone();
        let max_message_bytes = self.shared.max_message_bytes;
        let call = Call {
            kind: self.kind,
            parts,
            method,
            body,
            requires,
            attempt_timeout,
            deadline,
            max_message_bytes,
        };
        pursue::pursue(&self.shared, policy, call).await
    }
}

impl Service<Request<Body>> for Dispatching {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each attempt waits for its own readiness.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().dispatch(request))
    }
}
