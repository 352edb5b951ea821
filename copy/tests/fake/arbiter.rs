//! An arbiter whose behavior a test scripts. It lives in a runtime of its own, so that it can be killed.

pub(crate) mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::proto::arbiter::v1::arbiter_service_server::{ArbiterService, ArbiterServiceServer};
use gameshelf::proto::arbiter::v1::change::Kind;
use gameshelf::proto::arbiter::v1::poll_changes_request::Start as PollStart;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Change, Commit, Entitlement, Filter, GetHeadRequest, GetHeadResponse, ListEntitlementsRequest,
    ListEntitlementsResponse, PollChangesRequest, PollChangesResponse, ReportCopyRequest, ReportCopyResponse,
    SnapshotChunk, WatchRequest, WatchResponse,
};
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Freshness, Provenance, Source};
use gameshelf::services;
use gameshelf::tokens::Token;
use mesh::environment::Environment;
use mesh::inbound::{InboundConfig, Server};
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use world::{Asked, Position, World};

/// How long a stream without news waits before it says so.
const IDLE: Duration = Duration::from_millis(20);

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
}

impl Shared {
    // A test that fails while it holds the lock is not to hide its failure behind others.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The arbiter, up or down. What it has outlives its going down.
pub(crate) struct FakeArbiter {
    shared: Shared,
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl FakeArbiter {
    /// One that is up and has nothing.
    pub(crate) fn start() -> Self {
        // Its port is never let go of: another test might get it before this one serves.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut arbiter = Self::at(listener.local_addr().unwrap());
        arbiter.serve(Some(listener));
        arbiter
    }

    fn at(address: SocketAddr) -> Self {
        let world = Arc::new(Mutex::new(World::new()));
        Self { shared: Shared { world, changed: watch::Sender::new(()) }, address, runtime: None }
    }

    /// Serves, on the same port each time.
    pub(crate) fn go_up(&mut self) {
        self.serve(None);
    }

    fn serve(&mut self, listener: Option<std::net::TcpListener>) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (shared, address) = (self.shared.clone(), self.address);
        let serving = runtime.spawn(async move {
            let mut bound = listener.map(|listener| TcpListener::from_std(listener).unwrap());
            let listener = loop {
                if let Some(listener) = bound.take() {
                    break listener;
                }
                // The one before it may be going down still.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            let routes = Routes::new(ArbiterServiceServer::new(shared));
            let description = Description::new(services::ARBITER, of_package(env!("CARGO_PKG_VERSION")));
            let server = Server::new(&[], &InboundConfig::default(), &Environment::system());
            let server = server.described(description);
            server.health().set_serving(true);
            server.serve(listener, routes, &[], CancellationToken::new()).await
        });
        drop(serving);
        self.runtime = Some(runtime);
    }

    /// Dies, with all its connections.
    pub(crate) fn go_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// The newest revision.
    pub(crate) fn head(&self) -> Token {
        self.world().head()
    }

    /// Looks at the world. The guard is not to be held while anything is waited for.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Changes the world, and wakes the streams.
    pub(crate) fn set<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let changed = change(&mut self.world());
        self.shared.changed.send_replace(());
        changed
    }

    /// Commits a change of ownership, and returns its token.
    pub(crate) fn commit(&self, changes: &[(&str, &str, bool)]) -> Token {
        self.set(|world| {
            let changes = changes.iter().map(|(customer_id, game_id, granted)| Change {
                kind: if *granted { Kind::Granted } else { Kind::Revoked }.into(),
                customer_id: (*customer_id).to_owned(),
                game_id: (*game_id).to_owned(),
                ..Change::default()
            });
            let revision = world.commits.len() as u64 + 1;
            world.commits.push(Commit { revision, changes: changes.collect(), ..Commit::default() });
            world.head()
        })
    }

    /// Commits that a customer owns a game.
    pub(crate) fn grant(&self, customer_id: &str, game_id: &str) -> Token {
        self.commit(&[(customer_id, game_id, true)])
    }
}

impl Drop for FakeArbiter {
    fn drop(&mut self) {
        self.go_down();
    }
}

fn provenance(token: Token) -> Provenance {
    Provenance {
        revision: token.revision,
        token: token.to_string(),
        age: Some(prost_types::Duration::default()),
        source: Source::Arbiter.into(),
        degraded: false,
    }
}

fn refuse<T>(reason: Reason) -> Result<T, Status> {
    Err(ErrorBuilder::new(reason, "refused").build())
}

fn judge(token: Token, head: Token) -> Result<(), Status> {
    if token.store_id != head.store_id {
        refuse(Reason::TokenForeign)
    } else if token.incarnation != head.incarnation || token.revision > head.revision {
        refuse(Reason::RevisionUnknown)
    } else {
        Ok(())
    }
}

/// One stream: where it stands, and where it goes.
struct Tail {
    shared: Shared,
    sender: mpsc::Sender<Result<WatchResponse, Status>>,
    asked: Asked,
    /// Messages until it is cut.
    left: Option<usize>,
}

impl Tail {
    async fn send(&mut self, event: Event) -> Option<()> {
        if self.left == Some(0) {
            let _ = self.sender.send(Err(Status::unavailable("cut"))).await;
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        self.sender.send(Ok(WatchResponse { event: Some(event) })).await.ok()
    }

    async fn run(mut self, mut position: Position) -> Option<()> {
        let mut changed = self.shared.changed.subscribe();
        while self.shared.world().silent {
            let _ = changed.changed().await;
        }
        loop {
            changed.mark_unchanged();
            let next = self.shared.world().next(position, &self.asked);
            let idle = matches!(next, None | Some((Event::Bookmark(_), _)));
            if let Some((event, to)) = next {
                self.send(event).await?;
                position = to;
            }
            if idle {
                let _ = tokio::time::timeout(IDLE, changed.changed()).await;
            }
        }
    }
}

impl Shared {
    fn set_polled(&self, asked: &Asked) {
        if asked.partitions.is_empty() {
            self.world().polled += 1;
        }
    }

    /// Judges how a stream is to begin, and notes it.
    fn begin(&self, start: &Start, asked: &Asked) -> Result<(Position, Option<usize>), Status> {
        let mut world = self.world();
        let head = world.head();
        let is_part = !asked.partitions.is_empty();
        if !is_part {
            world.watched.push(start.clone());
        }
        let position = match start {
            Start::Snapshot(snapshot) => {
                let at = if snapshot.as_of_token.is_empty() {
                    head
                } else {
                    snapshot.as_of_token.parse().unwrap()
                };
                judge(at, head)?;
                if is_part {
                    world.parts.push((at.revision, asked.partitions.clone()));
                    if world.refuses_parts {
                        return refuse(Reason::StoreUnavailable);
                    }
                }
                Position::Snapshot { at, told: 0 }
            }
            Start::AfterToken(token) => {
                let token: Token = token.parse().unwrap();
                judge(token, head)?;
                if token.revision < world.compacted {
                    return refuse(Reason::RevisionCompacted);
                }
                Position::After(token.at(token.revision.saturating_sub(world.repeats)))
            }
            Start::Earliest(_) => Position::After(head.at(world.compacted)),
        };
        let left = if is_part { None } else { world.cuts.pop_front() };
        Ok((position, left))
    }
}

/// What goes on with a poll: where it stands, and how many answers are left until it is cut.
fn cursor(position: Position, left: Option<usize>) -> String {
    let left = left.map_or(String::new(), |left| left.to_string());
    match position {
        Position::Snapshot { at, told } => format!("{at} {told} {left}"),
        Position::After(token) => format!("{token} - {left}"),
    }
}

fn position(cursor: &str) -> (Position, Option<usize>) {
    let [at, told, left] = cursor.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let at: Token = at.parse().unwrap();
    let position = told.parse().map_or(Position::After(at), |told| Position::Snapshot { at, told });
    (position, left.parse().ok())
}

fn asked(filter: Option<Filter>, with_digests: bool) -> Asked {
    Asked { partitions: filter.unwrap_or_default().partitions, with_digests }
}

fn watch_start(start: PollStart) -> Start {
    match start {
        PollStart::Snapshot(snapshot) => Start::Snapshot(snapshot),
        PollStart::AfterToken(token) => Start::AfterToken(token),
        PollStart::Earliest(earliest) => Start::Earliest(earliest),
        PollStart::Cursor(_) => unreachable!("a cursor goes on and begins nothing"),
    }
}

/// What a poll is told while the end of its snapshot is held back: a part without rows.
fn held(position: Position) -> (Event, Position) {
    let Position::Snapshot { at, .. } = position else { unreachable!("only snapshots are held") };
    (Event::SnapshotChunk(SnapshotChunk { entitlements: vec![], revision: at.revision }), position)
}

#[tonic::async_trait]
impl ArbiterService for Shared {
    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<BoxStream<WatchResponse>>, Status> {
        let request = request.into_inner();
        let asked = asked(request.filter, request.with_digests);
        let (position, left) = self.begin(&request.start.unwrap(), &asked)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(Tail { shared: self.clone(), sender, asked, left }.run(position));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn poll_changes(
        &self,
        request: Request<PollChangesRequest>,
    ) -> Result<Response<PollChangesResponse>, Status> {
        let request = request.into_inner();
        let asked = asked(request.filter, request.with_digests);
        let mut changed = self.changed.subscribe();
        let (position, left) = match request.start.unwrap() {
            PollStart::Cursor(cursor) => {
                let (position, left) = position(&cursor);
                let (Position::Snapshot { at, .. } | Position::After(at)) = position;
                judge(at, self.world().head())?;
                (position, left)
            }
            other => {
                self.set_polled(&asked);
                self.begin(&watch_start(other), &asked)?
            }
        };
        while self.world().silent {
            let _ = changed.changed().await;
        }
        if left == Some(0) {
            // Not one that is tried again beneath the copy, so that the copy has to resume.
            return Err(Status::aborted("cut"));
        }
        let mut next = self.world().next(position, &asked);
        if matches!(next, None | Some((Event::Bookmark(_), _))) && request.wait.is_some() {
            let wait = request.wait.filter(|_| self.world().waits).and_then(|wait| wait.try_into().ok());
            let waited = tokio::time::timeout(wait.unwrap_or(IDLE), changed.changed()).await;
            self.world().waited += usize::from(waited.is_err());
            next = self.world().next(position, &asked);
        }
        let (event, to) = next.unwrap_or_else(|| held(position));
        let events = vec![WatchResponse { event: Some(event) }];
        let cursor = cursor(to, left.map(|left| left - 1));
        Ok(Response::new(PollChangesResponse { events, cursor }))
    }

    async fn report_copy(
        &self,
        request: Request<ReportCopyRequest>,
    ) -> Result<Response<ReportCopyResponse>, Status> {
        let mut world = self.world();
        world.reports.push(request.into_inner());
        if world.refuses_reports {
            return refuse(Reason::StoreUnavailable);
        }
        let report_again_after = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
        Ok(Response::new(ReportCopyResponse {
            provenance: Some(provenance(world.head())),
            report_again_after,
        }))
    }

    async fn get_head(&self, _: Request<GetHeadRequest>) -> Result<Response<GetHeadResponse>, Status> {
        let head = self.world().head();
        Ok(Response::new(GetHeadResponse { provenance: Some(provenance(head)) }))
    }

    async fn list_entitlements(
        &self,
        request: Request<ListEntitlementsRequest>,
    ) -> Result<Response<ListEntitlementsResponse>, Status> {
        let request = request.into_inner();
        let mut world = self.world();
        world.listed += 1;
        let head = world.head();
        if let Some(Freshness { requirement: Some(Requirement::AtLeastAsFreshAs(token)) }) = request.freshness
        {
            judge(token.parse().unwrap(), head)?;
        }
        let (revision, after) = match request.page_token.split_once('/') {
            Some((revision, after)) => (revision.parse().unwrap(), after.to_owned()),
            None => (head.revision, String::new()),
        };
        let mut entitlements: Vec<_> = world
            .state(revision)
            .into_iter()
            .filter(|((customer_id, game_id), _)| *customer_id == request.customer_id && *game_id > after)
            .map(|((customer_id, game_id), since_revision)| Entitlement {
                customer_id,
                game_id,
                since_revision,
                ..Entitlement::default()
            })
            .collect();
        let size = usize::try_from(request.page_size).unwrap();
        let more = entitlements.len() > size;
        entitlements.truncate(size);
        let last = entitlements.last().filter(|_| more);
        let next_page_token = last.map(|last| format!("{revision}/{}", last.game_id)).unwrap_or_default();
        let provenance = Some(provenance(head.at(revision)));
        Ok(Response::new(ListEntitlementsResponse { entitlements, next_page_token, provenance }))
    }
}
