//! The calls that are made in serving one request. Nothing is allocated for a request that makes none.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::uri::PathAndQuery;
use opentelemetry::global;
use opentelemetry::metrics::Histogram;

use super::{Edge, Seen};
use crate::deadline::{REQUEST, RequestContext};

/// The request being served, to be taken along to another task: the calls that are made there for it count as its own. It carries
/// neither the deadline of the request nor what the request has seen.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    made: Option<Made>,
}

impl Carried {
    /// The request that the current task serves; where it serves none, nothing is carried.
    #[must_use]
    pub fn current() -> Self {
        Self { made: REQUEST.try_with(|request| request.made.shared()).ok().flatten() }
    }

    /// Runs what is done for the request.
    pub async fn run<F: Future>(self, future: F) -> F::Output {
        let Some(made) = self.made else { return future.await };
        REQUEST.scope(RequestContext { made, ..RequestContext::default() }, future).await
    }
}

/// What all requests of a server share.
pub(crate) struct Serving {
    seen: Seen,
    calls_per_request: Histogram<u64>,
}

impl Serving {
    /// Made after the meter provider was set.
    pub(crate) fn new(seen: &Seen) -> Arc<Self> {
        let calls_per_request = global::meter("mesh")
            .u64_histogram("mesh.server.calls_per_request")
            .with_unit("{call}")
            .with_description("Calls to one service that were made in serving one request which made any.")
            .with_boundaries(vec![1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0])
            .build();
        Arc::new(Self { seen: seen.clone(), calls_per_request })
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Serving")
    }
}

/// The calls made for a request. A clone is of the same request.
#[derive(Debug, Default)]
pub(crate) struct Made {
    request: Option<(Arc<Serving>, PathAndQuery)>,
    counts: OnceLock<Arc<Counts>>,
}

impl Made {
    /// For a request that is being served.
    pub(crate) fn of_request(serving: &Arc<Serving>, path: Option<&PathAndQuery>) -> Self {
        let request = path.map(|path| (serving.clone(), path.clone()));
        Self { request, counts: OnceLock::new() }
    }

    /// Counts a call; whether it is made in serving a request.
    pub(crate) fn count(&self, edge: &Arc<Edge>) -> bool {
        let counts = self.counts();
        if let Some(counts) = counts {
            counts.add(edge);
        }
        counts.is_some()
    }

    /// The same, where a request is being served.
    fn shared(&self) -> Option<Self> {
        self.request.as_ref().map(|_| self.clone())
    }

    fn counts(&self) -> Option<&Arc<Counts>> {
        let (serving, path) = self.request.as_ref()?;
        let new =
            || Arc::new(Counts { serving: serving.clone(), path: path.clone(), made: Mutex::default() });
        Some(self.counts.get_or_init(new))
    }
}

impl Clone for Made {
    fn clone(&self) -> Self {
        // A task to which the request is carried over counts for the same request.
        let counts = self.counts().map_or_else(OnceLock::new, |counts| counts.clone().into());
        Self { request: self.request.clone(), counts }
    }
}

struct Counts {
    serving: Arc<Serving>,
    path: PathAndQuery,
    /// One for each service that was called, of which there are not many.
    made: Mutex<Vec<(Arc<Edge>, u64)>>,
}

impl Counts {
    fn add(&self, edge: &Arc<Edge>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.iter_mut().find(|(counted, _)| Arc::ptr_eq(counted, edge)) {
            Some((_, calls)) => *calls = calls.saturating_add(1),
            None => made.push((edge.clone(), 1)),
        }
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Counts")
    }
}

impl Drop for Counts {
    /// The request has ended, and whatever was still done for it.
    fn drop(&mut self) {
        let made = std::mem::take(self.made.get_mut().unwrap_or_else(PoisonError::into_inner));
        if made.is_empty() {
            return;
        }
        // Only a method that is there makes calls.
        let method = self.serving.seen.served().method(self.path.path(), true);
        for (edge, calls) in made {
            edge.served(method.name(), calls);
            let [service, name] = method.attributes();
            self.serving.calls_per_request.record(calls, &[service, name, edge.peer()]);
        }
    }
}
