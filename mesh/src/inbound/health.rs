//! The standard health protocol. tonic's own service begins as SERVING and cannot say `SERVICE_UNKNOWN`, so that this
//! one is ours; its messages are tonic-health's.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotServing,
    Serving,
    /// The end: nothing makes a service that stops healthy again.
    Draining,
}

/// Whether the service serves, told to whoever asks by the standard protocol. It begins as not serving. Cheap to
/// clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<watch::Sender<State>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::NotServing)) }
    }

    /// Says for the whole server and each of its services whether it serves. Without effect once the server drains.
    pub fn set_serving(&self, serving: bool) {
        let next = if serving { State::Serving } else { State::NotServing };
        self.change(next);
    }

    /// Whether the service says that it serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.state.borrow() == State::Serving
    }

    pub(super) fn drain(&self) {
        self.change(State::Draining);
    }

    fn change(&self, next: State) {
        self.state.send_if_modified(|state| {
            let changes = *state != State::Draining && *state != next;
            if changes {
                *state = next;
            }
            changes
        });
    }
}

/// The service that answers for a [`Health`].
#[derive(Debug)]
pub(super) struct HealthService {
    pub(super) health: Health,
    pub(super) service_names: Vec<&'static str>,
}

impl HealthService {
    fn knows(&self, name: &str) -> bool {
        name.is_empty() || self.service_names.contains(&name)
    }
}

#[tonic::async_trait]
impl health_server::Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("the server has no service of that name"));
        }
        Ok(Response::new(answer(status_of(*self.health.state.borrow()))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.get_ref().service) {
            // The protocol wants the stream kept open, because the service may come to be known later.
            let unknown = futures_util::stream::iter([Ok(answer(ServingStatus::ServiceUnknown))]);
            let drained = wait_for_drain(self.health.state.subscribe());
            return Ok(Response::new(Box::pin(
                unknown.chain(futures_util::stream::pending()).take_until(drained),
            )));
        }
        Ok(Response::new(Box::pin(changes(self.health.state.subscribe()))))
    }
}

/// The state now and after each change. The last thing that a watcher hears is that the server stops; then the stream
/// ends, so that it does not hold the drain up.
fn changes(state: watch::Receiver<State>) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send {
    futures_util::stream::unfold((state, None), |(mut state, told)| async move {
        match told {
            Some(State::Draining) => return None,
            Some(_) => state.changed().await.ok()?,
            None => {}
        }
        let now = *state.borrow_and_update();
        Some((Ok(answer(status_of(now))), (state, Some(now))))
    })
}

async fn wait_for_drain(mut state: watch::Receiver<State>) {
    // The sender is gone only when the server is.
    let _ = state.wait_for(|state| *state == State::Draining).await;
}

fn status_of(state: State) -> ServingStatus {
    match state {
        State::Serving => ServingStatus::Serving,
        State::NotServing | State::Draining => ServingStatus::NotServing,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
