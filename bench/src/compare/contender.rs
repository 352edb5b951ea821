//! One side of a row: something that takes load, with the processes that it needs.

use std::any::Any;
use std::iter;

use crate::load::{Measured, Remote, Slice};
use crate::rivals::{self, Arrangement, Shared, Size, Tuning};
use crate::servers::{Arbiter, Etcd, Noop, Process, Runtime, Stack, Store, protocol};
use crate::settings::SEARCH_PASSES;
use crate::work::{Job, Requests};

use super::Bench;

/// Ours, or a rival.
pub(crate) struct Contender {
    target: Target,
    /// What its work costs is seen here.
    pub(crate) processes: Vec<Process>,
    /// What was found to be best for it.
    pub(crate) choice: Option<String>,
    /// Ends last: the servers, and what they need.
    _servers: Box<dyn Any>,
}

enum Target {
    Remote(Box<Remote>),
    Shared(Shared),
}

impl Contender {
    pub(crate) fn closed(&self, slice: Slice) -> anyhow::Result<Measured> {
        match &self.target {
            Target::Remote(remote) => remote.closed(slice),
            Target::Shared(shared) => shared.closed(slice),
        }
    }

    /// The server, when it is one that is called over the network.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.target {
            Target::Remote(remote) => Some(remote),
            Target::Shared(_) => None,
        }
    }

    /// The arbiter on a store, with what the job needs.
    pub(crate) fn arbiter(bench: &Bench, store: Store, job: Job) -> anyhow::Result<Self> {
        match store {
            Store::Sqlite => {
                let arbiter = Arbiter::on_sqlite(job.work.arbiter_threads())?;
                arbiter.prepare(job.work)?;
                Ok(Self::of_arbiter(bench, Requests::new(job), arbiter, None, Box::new(())))
            }
            Store::Postgres => {
                let database = bench.postgres()?.create_database()?;
                let arbiter = Arbiter::on_postgres(&database, job.work.arbiter_threads())?;
                arbiter.prepare(job.work)?;
                database.settle()?;
                let process = database.process();
                Ok(Self::of_arbiter(bench, Requests::new(job), arbiter, process, Box::new(database)))
            }
        }
    }

    /// An arbiter that runs already, on `store`.
    pub(crate) fn of_arbiter(
        bench: &Bench,
        requests: Requests,
        arbiter: Arbiter,
        database: Option<Process>,
        store: Box<dyn Any>,
    ) -> Self {
        let protocol = protocol(requests.job().work);
        let remote = Remote::new(arbiter.address(), protocol, requests, bench.settings.shape());
        let processes = [Some(Process::this("load")), Some(arbiter.process()), database];
        Self {
            target: Target::Remote(Box::new(remote)),
            processes: processes.into_iter().flatten().collect(),
            choice: None,
            // The arbiter ends before its store goes.
            _servers: Box::new((arbiter, store)),
        }
    }

    /// Services that share a database, tuned as is best for them.
    pub(crate) fn shared(
        bench: &Bench,
        job: Job,
        arrangement: Arrangement,
        size: Size,
    ) -> anyhow::Result<Self> {
        let postgres = bench.postgres()?;
        let tuning = rivals::best(&postgres, job, arrangement, size, bench.settings.search_slice())?;
        let database = postgres.create_database()?;
        rivals::prepare(&database, job.work)?;
        database.settle()?;
        let shared = Shared::start(&database, Requests::new(job), arrangement, tuning)?;
        Ok(Self::of_shared(shared, tuning, database.process(), Box::new(database)))
    }

    pub(crate) fn of_shared(
        shared: Shared,
        tuning: Tuning,
        database: Option<Process>,
        servers: Box<dyn Any>,
    ) -> Self {
        let processes = [Some(Process::this("load and service")), database];
        Self {
            target: Target::Shared(shared),
            processes: processes.into_iter().flatten().collect(),
            choice: Some(tuning.describe()),
            _servers: servers,
        }
    }

    /// A server that does nothing, on the runtime that is fastest for it.
    pub(crate) fn noop(bench: &Bench, job: Job, stack: Stack) -> anyhow::Result<Self> {
        let start = |runtime| -> anyhow::Result<(Noop, Remote)> {
            let noop = Noop::start(runtime, stack)?;
            let remote =
                Remote::new(noop.address(), protocol(job.work), Requests::new(job), bench.settings.shape());
            Ok((noop, remote))
        };
        let mut best = (Runtime::CurrentThread, 0.0);
        for runtime in iter::repeat_n(Runtime::ALL, SEARCH_PASSES).flatten() {
            let (_noop, remote) = start(runtime)?;
            let rate = remote.closed(bench.settings.search_slice())?.per_second();
            if rate > best.1 {
                best = (runtime, rate);
            }
        }
        let (noop, remote) = start(best.0)?;
        Ok(Self {
            target: Target::Remote(Box::new(remote)),
            processes: vec![Process::this("load"), noop.process()],
            choice: Some(format!("the {} runtime", best.0.name())),
            _servers: Box::new(noop),
        })
    }

    /// etcd, with the keys that the job needs.
    pub(crate) fn etcd(bench: &Bench, job: Job) -> anyhow::Result<Self> {
        let etcd = Etcd::start()?;
        rivals::prepare_etcd(etcd.address, job.work)?;
        let protocol = rivals::etcd_protocol(job.work)?;
        let remote = Remote::new(etcd.address, protocol, Requests::new(job), bench.settings.shape());
        Ok(Self {
            target: Target::Remote(Box::new(remote)),
            processes: vec![Process::this("load"), etcd.process()],
            choice: None,
            _servers: Box::new(etcd),
        })
    }
}
