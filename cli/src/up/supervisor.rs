//! Keeps the children up: one task for each, which starts its child again when it dies.

use std::process::ExitStatus;
use std::time::Duration;

use mesh::environment::Environment;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::child::{Child, Spec};
use super::probe;
use super::table::Running;
use crate::exit::{Failure, Kind};

/// How it stands with a child.
#[derive(Clone, Debug)]
enum State {
    Starting,
    Serving {
        pid: u32,
    },
    /// It cannot be started; it was not tried again.
    Failed(Failure),
}

/// The tasks of all children.
#[derive(Debug)]
pub(crate) struct Supervisors(Vec<Handle>);

#[derive(Debug)]
struct Handle {
    spec: Spec,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisors {
    /// Starts a task, and with it a child, for each service.
    pub(crate) fn start(specs: Vec<Spec>, environment: &Environment, drain: Duration) -> Self {
        let start = |spec: Spec| {
            let (sender, state) = watch::channel(State::Starting);
            let stop = CancellationToken::new();
            let supervisor = Supervisor {
                spec: spec.clone(),
                state: sender,
                environment: environment.clone(),
                drain,
                served: false,
            };
            let task = tokio::spawn(supervisor.run(stop.clone()));
            Handle { spec, state, stop, task }
        };
        Self(specs.into_iter().map(start).collect())
    }

    /// Waits until every child serves.
    ///
    /// # Errors
    ///
    /// Of the first child that could not be started.
    pub(crate) async fn all_serving(&self) -> Result<Vec<Running>, Failure> {
        tokio::select! {
            failure = self.failed() => Err(failure),
            running = self.wait_for_serving() => Ok(running),
        }
    }

    async fn wait_for_serving(&self) -> Vec<Running> {
        let mut running = Vec::new();
        for handle in &self.0 {
            let mut state = handle.state.clone();
            let serving = state.wait_for(|state| matches!(state, State::Serving { .. })).await;
            if let Some(State::Serving { pid }) = serving.ok().as_deref() {
                running.push(Running { name: handle.spec.name, address: handle.spec.address, pid: *pid });
            } else {
                // The task has ended, so the child has failed: that is told elsewhere.
                std::future::pending::<()>().await;
            }
        }
        running
    }

    /// Waits for a child that cannot be started.
    pub(super) async fn failed(&self) -> Failure {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        for handle in &self.0 {
            let (mut state, sender) = (handle.state.clone(), sender.clone());
            tokio::spawn(async move {
                let failed = state.wait_for(|state| matches!(state, State::Failed(_))).await;
                if let Some(State::Failed(failure)) = failed.ok().as_deref().cloned() {
                    // Only the first failure is heard.
                    let _ = sender.try_send(failure);
                }
            });
        }
        drop(sender);
        match receiver.recv().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Says, after a while, which services do not serve yet and where to look.
    pub(super) async fn say_what_is_waited_for(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        let waited_for =
            self.0.iter().filter(|handle| !matches!(*handle.state.borrow(), State::Serving { .. }));
        for handle in waited_for {
            eprintln!(
                "still waiting for {} to serve; its log: {}",
                handle.spec.name,
                handle.spec.log.display()
            );
        }
    }

    /// Ends all children: first those that call others, so that what they have begun can be finished.
    pub(crate) async fn stop(&mut self) {
        for front in [true, false] {
            let group = || self.0.iter().filter(|handle| handle.spec.is_front == front);
            group().for_each(|handle| handle.stop.cancel());
            for handle in self.0.iter_mut().filter(|handle| handle.spec.is_front == front) {
                // An error says that the task has panicked; its child is killed as it is dropped.
                let _ = (&mut handle.task).await;
            }
        }
    }
}

struct Supervisor {
    spec: Spec,
    state: watch::Sender<State>,
    environment: Environment,
    drain: Duration,
    /// Whether the child has ever served: from then on its death is an accident.
    served: bool,
}

impl Supervisor {
    async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let begun = self.environment.clock.monotonic();
            let mut child = match Child::start(&self.spec) {
                Ok(child) => child,
                Err(error) => return self.fail(format!("cannot be started: {error}")),
            };
            let status = tokio::select! {
                status = self.keep(&mut child) => status,
                () = stop.cancelled() => return child.stop(self.drain).await,
            };
            if let Some(failure) = self.failure(&child, status) {
                return self.fail(failure);
            }
            self.state.send_replace(State::Starting);
            let ran = self.environment.clock.monotonic().saturating_duration_since(begun);
            let wait = backoff.after(ran);
            self.say_died(&child, status, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Notes when the child serves, and waits for its end.
    async fn keep(&mut self, child: &mut Child) -> Option<ExitStatus> {
        let pid = child.pid();
        tokio::select! {
            () = probe::serving(self.spec.name, self.spec.address, &self.environment) => {}
            status = child.ended() => return status.ok(),
        }
        if self.served {
            eprintln!("{} serves again (process {pid})", self.spec.name);
        }
        self.served = true;
        self.state.send_replace(State::Serving { pid });
        child.ended().await.ok()
    }

    /// Why it is of no use to start the child again: it ended by itself before it ever served, so what it was given
    /// is wrong. A child that was killed is another matter.
    fn failure(&self, child: &Child, status: Option<ExitStatus>) -> Option<String> {
        let by_itself = status.and_then(|status| status.code()).is_some();
        if self.served || !by_itself {
            return None;
        }
        let ended = || format!("ended at its start; its log: {}", self.spec.log.display());
        Some(child.last_error(&self.spec).unwrap_or_else(ended))
    }

    fn fail(&self, message: String) {
        let failure = Failure::new(Kind::BadInput, "START", message).while_doing(self.spec.name);
        self.state.send_replace(State::Failed(failure.with("service", self.spec.name)));
    }

    fn say_died(&self, child: &Child, status: Option<ExitStatus>, wait: Duration) {
        let how = status.map_or_else(|| "in an unknown way".to_owned(), |status| status.to_string());
        eprintln!(
            "{} (process {}) died: {how}; it is started again in {} ms; its log: {}",
            self.spec.name,
            child.pid(),
            wait.as_millis(),
            self.spec.log.display(),
        );
    }
}
