//! Takes every unfinished order to its end, also after a restart.
//!
//! [`start`] gives a [`Saga`], the cheap handle, and the task that works. Within this process each order is driven by one
//! task at a time; another process on the same database may drive it too, and then the one that is
//! late changes nothing: a change is a compare-and-set of the order's version, and every step has a stored id.

mod backlog;
mod backoff;
mod drive;
mod ends;
mod outages;
mod scan;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use gameshelf::ids::OrderId;
use mesh::environment::Environment;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::clients::Clients;
use crate::metrics::Metrics;
use crate::store::SharedStore;

pub(crate) use backlog::{Backlog, BacklogFull, Slot};
pub(crate) use ends::{EndWatch, Ends};

use backoff::Backoff;
use drive::Driver;
use worker::{Job, Worker};

/// How many orders may be on their way to the worker. It takes them much faster than they can be written.
const JOBS_MAX: usize = 1024;

/// What the saga needs to take orders to their end.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: SharedStore,
    pub(crate) clients: Clients,
    pub(crate) environment: Environment,
    pub(crate) metrics: Metrics,
}

/// The handle of the saga. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Saga {
    jobs: mpsc::Sender<Job>,
    backlog: Backlog,
    ends: Ends,
    stopping: CancellationToken,
}

/// Starts the saga's tasks. The first search of the store is done when this returns.
///
/// The tasks finish the step that they are in and end once `stopping` is cancelled; dropping the set aborts them.
pub(crate) async fn start(parts: Parts, config: &Config, stopping: CancellationToken) -> (Saga, JoinSet<()>) {
    let (sender, jobs) = mpsc::channel(JOBS_MAX);
    let backlog = Backlog::new(usize::try_from(config.max_backlog).unwrap_or(usize::MAX));
    parts.metrics.observe_unfinished(backlog.weak());
    let ends = Ends::new(usize::try_from(config.inbound.max_in_flight).unwrap_or(usize::MAX));
    let saga = Saga { jobs: sender, backlog, ends: ends.clone(), stopping: stopping.clone() };
    let backoff = Backoff::new(config.retry_base_ms, config.retry_max_ms, &parts.environment);
    let store = Arc::clone(&parts.store);
    let driver = Driver::new(parts, ends, stopping.clone());
    let concurrency = usize::try_from(config.worker_concurrency).unwrap_or(1);
    let worker = Worker::new(driver, saga.backlog.clone(), backoff, concurrency);
    let mut tasks = JoinSet::new();
    tasks.spawn(worker.run(jobs, stopping.clone()));
    let interval = Duration::from_millis(config.scan_interval_ms);
    let scanner = scan::Scanner { store, saga: saga.clone(), interval };
    scanner.scan_until_done().await;
    tasks.spawn(scanner.run());
    (saga, tasks)
}

impl Saga {
    /// Reserves a place among the unfinished orders, to be given to [`Saga::take`].
    pub(crate) fn reserve(&self) -> Result<Slot, BacklogFull> {
        self.backlog.try_enter()
    }

    /// Takes an order that is on disk to its end, some time. An order that is being taken there already stays where it
    /// is. While the service stops nothing is done: the order is found again after the restart.
    pub(crate) async fn take(&self, order_id: OrderId, slot: Option<Slot>) {
        // The worker is gone only when the service stops.
        let _ = self.jobs.send(Job { order_id, slot }).await;
    }

    /// Watches for the end of an order, from now on. None when too many are watched.
    pub(crate) fn watch(&self, order_id: OrderId) -> Option<EndWatch> {
        self.ends.watch(order_id)
    }

    /// Returns when the service is stopping, and no order will end any more.
    pub(crate) async fn stopping(&self) {
        self.stopping.cancelled().await;
    }
}
