//! The instances of a service as they come and go: a task takes over each set of addresses that discovery finds, and
//! keeps one more task for each instance, which follows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::config::DispatchConfig;
use super::follow::{Follower, follow};
use super::instance::{Condition, Instance, InstanceReport};
use crate::environment::Environment;
use crate::outbound::Address;
use crate::outbound::discovery::{EndpointStream, Endpoints};

/// The instances that are known; none before discovery has found any set.
pub(super) type Known = Option<Arc<[Arc<Instance>]>>;

/// The instances of one service. They are followed until this is dropped.
#[derive(Debug)]
pub(super) struct Instances {
    known: watch::Receiver<Known>,
    news: watch::Receiver<()>,
    wanted: watch::Sender<()>,
    _task: AbortOnDropHandle<()>,
}

impl Instances {
    /// Must run inside a runtime.
    pub(super) fn follow(
        name: &Arc<str>,
        endpoints: EndpointStream,
        config: &DispatchConfig,
        environment: &Environment,
    ) -> Self {
        let (known_sender, known) = watch::channel(None);
        let (news_sender, news) = watch::channel(());
        let wanted = watch::Sender::new(());
        let supervisor = Supervisor {
            name: name.clone(),
            config: config.clone(),
            environment: environment.clone(),
            known: known_sender,
            news: news_sender,
            wanted: wanted.clone(),
            followed: BTreeMap::new(),
        };
        let task = tokio::spawn(supervisor.run(endpoints));
        Self { known, news, wanted, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// What is seen of each.
    pub(super) fn reports(&self) -> Vec<InstanceReport> {
        self.known().iter().flat_map(|known| known.iter()).map(|instance| instance.report()).collect()
    }

    /// A call found nobody: those that cannot be reached are looked at again, and not only when their time has come.
    pub(super) fn want(&self) {
        self.wanted.send_replace(());
    }

    /// Waits until something holds that depends on the instances, or the time is over.
    pub(super) async fn wait_for(&self, wait: Duration, holds: impl Fn() -> bool) {
        let until = Instant::now() + wait;
        let mut news = self.news.clone();
        loop {
            // Marked before the look, so that what changes in between is not missed.
            news.borrow_and_update();
            if holds() || !matches!(timeout_at(until, news.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Whether all has been said for now: discovery has found a set, and each instance was asked what it is.
    pub(super) fn is_settled(&self) -> bool {
        let known = self.known.borrow();
        known.as_ref().is_some_and(|known| known.iter().all(|one| one.condition() != Condition::Unknown))
    }
}

struct Supervisor {
    name: Arc<str>,
    config: DispatchConfig,
    environment: Environment,
    known: watch::Sender<Known>,
    news: watch::Sender<()>,
    wanted: watch::Sender<()>,
    followed: BTreeMap<Address, (Arc<Instance>, AbortOnDropHandle<()>)>,
}

impl Supervisor {
    async fn run(mut self, mut endpoints: EndpointStream) {
        while let Some(set) = endpoints.next().await {
            self.take_over(&set);
        }
        // The last set stays, and so do those who follow it.
        std::future::pending::<()>().await;
    }

    fn take_over(&mut self, set: &Endpoints) {
        let limit = usize::try_from(self.config.max_instances).unwrap_or(usize::MAX);
        if set.len() > limit {
            tracing::warn!(target: "mesh::dispatch", peer = &*self.name, found = set.len(), limit, "more instances than the limit: those from before are kept");
            return;
        }
        // What is gone is not followed any more; the calls that are with it end by themselves.
        self.followed.retain(|address, _| set.contains(address));
        for address in set.iter() {
            if !self.followed.contains_key(address) {
                self.followed.insert(address.clone(), self.begin(address));
            }
        }
        self.known.send_replace(Some(self.followed.values().map(|(instance, _)| instance.clone()).collect()));
        self.news.send_replace(());
    }

    fn begin(&self, address: &Address) -> (Arc<Instance>, AbortOnDropHandle<()>) {
        let instance = Arc::new(Instance::new(&self.name, address, &self.config, &self.environment));
        let wanted = self.wanted.subscribe();
        let follower =
            Follower::new(&self.name, &instance, &self.news, wanted, &self.config, &self.environment);
        (instance, AbortOnDropHandle::new(tokio::spawn(follow(follower))))
    }
}
