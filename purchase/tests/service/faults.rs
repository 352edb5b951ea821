//! How a fake fails, what it saw, and how it is served.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mesh::environment::Environment;
use mesh::inbound::{InboundConfig, Server};
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::stored::{self, Stored};

/// What happens to one call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing is done.
    Fail(Status),
    /// It is done, and the answer is lost.
    Lose,
    /// It is done, and the answer comes once the token is cancelled.
    Hold(CancellationToken),
}

/// A call that a fake got.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) call: &'static str,
    /// The id under which it may be repeated.
    pub(crate) id: String,
    /// The order's row as it was on disk when the call came.
    pub(crate) stored: Option<Stored>,
    pub(crate) traceparent: Option<String>,
}

/// What both fakes share: the calls they got, in order, and what each should do next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    seen: Arc<Mutex<Vec<Seen>>>,
    faults: Arc<Mutex<VecDeque<(&'static str, Fault)>>>,
    arbiter_is_down: Arc<AtomicBool>,
    /// The database to look into at every call; none looks into none.
    database: Option<std::path::PathBuf>,
}

impl Script {
    pub(crate) fn looking_into(database: std::path::PathBuf) -> Self {
        Self { database: Some(database), ..Self::default() }
    }

    /// The next call of this kind fails in this way.
    pub(crate) fn next(&self, call: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((call, fault));
    }

    pub(crate) fn set_arbiter_down(&self, down: bool) {
        self.arbiter_is_down.store(down, Ordering::SeqCst);
    }

    /// Notes a call and says what is to happen to it.
    pub(crate) async fn begin<T>(
        &self,
        call: &'static str,
        id: &str,
        request: &Request<T>,
    ) -> Result<Option<Fault>, Status> {
        let stored = match &self.database {
            Some(path) => stored::of_step(path, id).await,
            None => None,
        };
        let header = request.metadata().get("traceparent");
        let traceparent = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.seen.lock().unwrap().push(Seen { call, id: id.to_owned(), stored, traceparent });
        if call == "grant" && self.arbiter_is_down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("down"));
        }
        let mut faults = self.faults.lock().unwrap();
        let place = faults.iter().position(|(kind, _)| *kind == call);
        match place.and_then(|place| faults.remove(place)) {
            Some((_, Fault::Fail(status))) => Err(status),
            other => Ok(other.map(|(_, fault)| fault)),
        }
    }

    /// What is left to happen once the call was done.
    pub(crate) async fn end(fault: Option<Fault>) -> Result<(), Status> {
        match fault {
            Some(Fault::Lose) => Err(Status::unavailable("the answer was lost")),
            Some(Fault::Hold(token)) => {
                token.cancelled().await;
                Ok(())
            }
            Some(Fault::Fail(_)) | None => Ok(()),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The kinds of the calls, in order, repeats included.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.seen().iter().map(|seen| seen.call).collect()
    }

    /// The different ids of the calls of a kind.
    pub(crate) fn ids(&self, call: &str) -> Vec<String> {
        let mut ids: Vec<_> =
            self.seen().into_iter().filter(|seen| seen.call == call).map(|seen| seen.id).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// A served fake; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    _guard: DropGuard,
}

/// Serves a fake, which says that it is of this name, on a port of its own, or a given one.
pub(crate) async fn serve(name: &str, routes: Routes, port: u16) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let description = Description::new(name, of_package(env!("CARGO_PKG_VERSION")));
    let server = Server::new(&[], &InboundConfig::default(), &Environment::system()).described(description);
    server.health().set_serving(true);
    let stopped = stop.clone();
    tokio::spawn(async move { server.serve(listener, routes, &[], stopped).await });
    Served { address, _guard: stop.drop_guard() }
}
