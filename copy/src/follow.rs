//! Starts the tasks that keep a copy.

use std::sync::Arc;

use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use mesh::environment::Environment;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::follower::Follower;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::peer::Peer;
use crate::probe::Prober;
use crate::report::Reporter;
use crate::source::Source;
use crate::status::Status;
use crate::target::Target;

/// A copy that is being kept. Dropping it ends that at once; the copy goes on from its checkpoint when it is kept again.
#[derive(Debug)]
pub struct Copy {
    status: Arc<Status>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Copy {
    /// How the copy stands.
    #[must_use]
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Waits until the shutdown has ended everything.
    pub async fn ended(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task that keeps the copy failed");
            }
        }
    }
}

/// Keeps a copy in `target` of what the arbiter has, until the shutdown. It starts without the arbiter.
/// Must run inside a tokio runtime.
///
/// # Errors
///
/// When the target cannot say what its rows show.
pub async fn follow<T: Target>(
    target: Arc<T>,
    arbiter: impl Into<Peer>,
    options: Options,
    environment: &Environment,
    shutdown: CancellationToken,
) -> Result<Copy, T::Error> {
    let status = Arc::new(Status::new(target.checkpoint().await?, options.probe_overdue));
    let metrics = Metrics::new(&options.name);
    let Peer { calls, streams } = arbiter.into();
    let limit_bytes = options.message_max_bytes;
    let calls = ArbiterServiceClient::new(calls).max_decoding_message_size(limit_bytes);
    let streams = ArbiterServiceClient::new(streams).max_decoding_message_size(limit_bytes);
    let prober = Prober {
        status: Arc::clone(&status),
        metrics: metrics.clone(),
        arbiter: calls.clone(),
        options: options.clone(),
        environment: environment.clone(),
    };
    let reporter = Reporter { status: Arc::clone(&status), arbiter: calls.clone(), options: options.clone() };
    let source = Source { streams, calls, options: options.clone() };
    let follower = Follower::new(target, Arc::clone(&status), metrics, source, options, environment.clone());
    let tasks = vec![
        AbortOnDropHandle::new(tokio::spawn(follower.run(shutdown.clone()))),
        AbortOnDropHandle::new(tokio::spawn(prober.run(shutdown.clone()))),
        AbortOnDropHandle::new(tokio::spawn(reporter.run(shutdown))),
    ];
    Ok(Copy { status, tasks })
}
