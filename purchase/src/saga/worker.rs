//! Decides which orders are driven now, and when one that failed is driven again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gameshelf::ids::OrderId;
use mesh::seen::Carried;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backlog::{Backlog, Slot};
use super::backoff::Backoff;
use super::drive::{Driven, Driver};

/// An order to be taken to its end.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) order_id: OrderId,
    /// Its place in the backlog; one is made where it is missing.
    pub(super) slot: Option<Slot>,
    /// Who has asked for it, and waits perhaps: the calls are made for that request.
    pub(super) request: Carried,
}

/// An order that is on its way.
#[derive(Debug)]
struct Tracked {
    /// How often in a row its present step had no known outcome.
    failures: u32,
    request: Carried,
    _slot: Slot,
}

/// Holds every unfinished order's id. There are as many as the backlog allows, and those that a restart found.
#[derive(Debug)]
pub(super) struct Worker {
    driver: Arc<Driver>,
    backlog: Backlog,
    backoff: Backoff,
    concurrency: usize,
    tracked: HashMap<OrderId, Tracked>,
    /// To be driven, in this order.
    ready: VecDeque<OrderId>,
    /// To be driven at a time.
    delayed: BinaryHeap<Reverse<(Instant, OrderId)>>,
    driving: JoinSet<Driven>,
    /// Which order a task drives, also when the task panics.
    orders: HashMap<Id, OrderId>,
}

impl Worker {
    pub(super) fn new(driver: Driver, backlog: Backlog, backoff: Backoff, concurrency: usize) -> Self {
        Self {
            driver: Arc::new(driver),
            backlog,
            backoff,
            concurrency,
            tracked: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BinaryHeap::new(),
            driving: JoinSet::new(),
            orders: HashMap::new(),
        }
    }

    /// Works until `stopping` is cancelled and the steps that are under way have ended; each of them is bounded in
    /// time by its call's timeout. Orders that are not at their end are on disk.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, stopping: CancellationToken) {
        loop {
            self.drive_ready();
            let next = self.delayed.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(job) = jobs.recv() => self.track(job),
                Some(ended) = self.driving.join_next_with_id() => self.settle(ended),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.wake(),
            }
        }
        while let Some(ended) = self.driving.join_next_with_id().await {
            self.settle(ended);
        }
        let unfinished = self.tracked.len();
        if unfinished > 0 {
            tracing::info!(
                unfinished,
                "stopping; orders that are not at their end are finished after the restart"
            );
        }
    }

    /// Takes an order on, unless it is on its way already.
    fn track(&mut self, job: Job) {
        if self.tracked.contains_key(&job.order_id) {
            return;
        }
        let slot = job.slot.unwrap_or_else(|| self.backlog.enter());
        self.tracked.insert(job.order_id, Tracked { failures: 0, request: job.request, _slot: slot });
        self.ready.push_back(job.order_id);
    }

    fn drive_ready(&mut self) {
        while self.driving.len() < self.concurrency {
            let Some(order_id) = self.ready.pop_front() else {
                return;
            };
            let tracked = self.tracked.get(&order_id);
            let failures = tracked.map_or(0, |tracked| tracked.failures);
            let request = tracked.map(|tracked| tracked.request.clone()).unwrap_or_default();
            let driver = Arc::clone(&self.driver);
            let task = self.driving.spawn(request.run(async move { driver.drive(order_id, failures).await }));
            self.orders.insert(task.id(), order_id);
        }
    }

    fn settle(&mut self, ended: Result<(Id, Driven), JoinError>) {
        let (task, driven) = match ended {
            Ok((task, driven)) => (task, driven),
            Err(error) => {
                tracing::error!(%error, "a task that drives an order ended early; the order is driven again");
                (error.id(), Driven::Hopeless { failures: 1 })
            }
        };
        let Some(order_id) = self.orders.remove(&task) else {
            return;
        };
        match driven {
            Driven::Ended => {
                self.tracked.remove(&order_id);
            }
            Driven::Interrupted => self.ready.push_back(order_id),
            Driven::Failed { failures } => self.delay(order_id, failures, self.backoff.after(failures)),
            Driven::Hopeless { failures } => self.delay(order_id, failures, self.backoff.longest()),
        }
    }

    fn delay(&mut self, order_id: OrderId, failures: u32, pause: Duration) {
        if let Some(tracked) = self.tracked.get_mut(&order_id) {
            tracked.failures = failures;
            self.delayed.push(Reverse((Instant::now() + pause, order_id)));
        }
    }

    /// Makes ready what is due.
    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, order_id))) = self.delayed.peek().copied() {
            if at > now {
                return;
            }
            self.delayed.pop();
            self.ready.push_back(order_id);
        }
    }
}
