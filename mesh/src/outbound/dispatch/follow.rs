//! Follows one instance without any traffic: asks it what it is, and then hears from it by the health protocol how it
//! is. What does not speak that protocol is asked again what it is by an interval.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::config::DispatchConfig;
use super::instance::{Condition, Instance};
use crate::environment::Environment;
use crate::errors;
use crate::outbound::backoff::Backoff;
use crate::proto::v1::DescribeRequest;
use crate::proto::v1::mesh_service_client::MeshServiceClient;
use crate::version::Description;

/// Follows an instance for as long as it is polled.
pub(super) async fn follow(mut follower: Follower) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        follower.wanted.mark_unchanged();
        let ended = follower.session().await;
        if began.elapsed() > follower.backoff.max() {
            failures = 0;
        }
        // A session that just ended says nothing about the instance: a server closes old connections by habit. The
        // next one tells.
        if let Err(condition) = ended {
            follower.learn(condition);
        }
        failures += 1;
        follower.pause(failures).await;
    }
}

/// What follows one instance.
#[derive(Debug)]
pub(super) struct Follower {
    name: Arc<str>,
    instance: Arc<Instance>,
    /// Told each time that something new is known of any instance.
    news: watch::Sender<()>,
    /// Tells each time that a call found nobody.
    wanted: watch::Receiver<()>,
    attempt_timeout: Duration,
    interval: Duration,
    backoff: Backoff,
}

/// Why a session could not go on, as what is to be known of the instance.
type Failed = Condition;

impl Follower {
    pub(super) fn new(
        name: &Arc<str>,
        instance: &Arc<Instance>,
        news: &watch::Sender<()>,
        wanted: watch::Receiver<()>,
        config: &DispatchConfig,
        environment: &Environment,
    ) -> Self {
        Self {
            name: name.clone(),
            instance: instance.clone(),
            news: news.clone(),
            wanted,
            attempt_timeout: Duration::from_millis(config.attempt_timeout_ms),
            interval: Duration::from_millis(config.health_interval_ms),
            backoff: Backoff::new(
                config.outbound.backoff_base_ms,
                config.health_backoff_max_ms,
                environment.random.clone(),
            ),
        }
    }

    /// Waits before the next session. A call that found nobody ends the wait, all but its shortest: what has come back must
    /// not go unnoticed while somebody needs it, and many calls must not make many looks.
    async fn pause(&mut self, failures: u32) {
        let shortest = self.backoff.delay(1);
        tokio::time::sleep(shortest).await;
        let rest = self.backoff.delay(failures).saturating_sub(shortest);
        // An error says that nobody calls any more, and then this ends too.
        let _ = timeout(rest, self.wanted.changed()).await;
    }

    fn learn(&self, condition: Condition) {
        if self.instance.learn(condition) {
            let condition = self.instance.condition();
            tracing::info!(target: "mesh::dispatch", peer = &*self.name, address = %self.instance.address, ?condition, "an instance");
            self.news.send_replace(());
        }
    }

    /// Asks the instance what it is and follows how it is, until the connection ends.
    async fn session(&self) -> Result<(), Failed> {
        let description = self.describe().await?;
        self.instance.found_again();
        let mut health = HealthClient::new(self.instance.transport.clone());
        let request = HealthCheckRequest { service: String::new() };
        let opened = self.in_time(health.watch(request)).await.map(tonic::Response::into_inner);
        let mut changes = match opened {
            Ok(changes) => changes,
            Err(status) if status.code() == Code::Unimplemented => return self.poll(description).await,
            Err(_) => return Err(Condition::Unreachable),
        };
        // The first answer comes at once; later ones come when there is something to say, and the pings of the
        // connection tell whether anybody is there.
        let mut next = self.in_time(changes.message()).await;
        loop {
            match next {
                Ok(Some(change)) => self.learn(condition(change.status(), &description)),
                Err(status) if status.code() == Code::Unimplemented => return self.poll(description).await,
                Ok(None) | Err(_) => return Ok(()),
            }
            next = changes.message().await;
        }
    }

    /// For an instance that has no health to watch: it serves while it says what it is.
    async fn poll(&self, mut description: Arc<Description>) -> Result<(), Failed> {
        loop {
            self.learn(Condition::Serving(description));
            tokio::time::sleep(self.interval).await;
            description = self.describe().await?;
        }
    }

    async fn describe(&self) -> Result<Arc<Description>, Failed> {
        let mut client = MeshServiceClient::new(self.instance.transport.clone());
        let response = match self.in_time(client.describe(DescribeRequest {})).await {
            Ok(response) => response.into_inner(),
            Err(status) if status.code() == Code::Unimplemented => {
                return Err(Condition::Unusable(Arc::from("it does not say what it is")));
            }
            Err(_) => return Err(Condition::Unreachable),
        };
        let description = Description::try_from(response)
            .map_err(|error| Condition::Unusable(Arc::from(error.to_string())))?;
        if *description.name != *self.name {
            return Err(Condition::Unusable(Arc::from(format!("it is {}", description.name))));
        }
        Ok(Arc::new(description))
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        timeout(self.attempt_timeout, answer)
            .await
            .unwrap_or_else(|_| Err(errors::deadline_exceeded(self.attempt_timeout)))
    }
}

fn condition(status: ServingStatus, description: &Arc<Description>) -> Condition {
    match status {
        ServingStatus::Serving => Condition::Serving(description.clone()),
        ServingStatus::NotServing | ServingStatus::ServiceUnknown | ServingStatus::Unknown => {
            Condition::NotServing(description.clone())
        }
    }
}
