//! An arbiter whose behavior a test scripts. It lives in a runtime of its own, so that it can be killed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::proto::arbiter::v1::arbiter_service_server::{ArbiterService, ArbiterServiceServer};
use gameshelf::proto::arbiter::v1::change::Kind;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Bookmark, Change, Commit, Commits, Entitlement, GetHeadRequest, GetHeadResponse, ListEntitlementsRequest,
    ListEntitlementsResponse, SnapshotChunk, SnapshotEnd, WatchRequest, WatchResponse,
};
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Freshness, Provenance, Source};
use gameshelf::tokens::Token;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Who owns what since when: customer and game to revision.
pub(crate) type State = BTreeMap<(String, String), u64>;

/// What the arbiter has, and how it behaves.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: u128,
    pub(crate) incarnation: u64,
    pub(crate) commits: Vec<Commit>,
    /// Streams may begin after this revision or later ones.
    pub(crate) compacted: u64,
    /// Streams leave this revision out.
    pub(crate) left_out: Option<u64>,
    /// Streams that resume begin this many commits early.
    pub(crate) repeats: u64,
    /// Streams say nothing of new commits.
    pub(crate) holds_commits: bool,
    /// Snapshots stop before their last part.
    pub(crate) holds_snapshot: bool,
    /// Streams say nothing at all.
    pub(crate) silent: bool,
    /// Commits in one message.
    pub(crate) message_commits: usize,
    /// The next streams end after so many messages.
    pub(crate) cuts: VecDeque<usize>,
    /// How streams were asked to begin.
    pub(crate) watched: Vec<Start>,
    /// How many lists were asked for.
    pub(crate) listed: usize,
}

impl World {
    pub(crate) fn head(&self) -> Token {
        let revision = self.commits.len() as u64;
        Token { store_id: Uuid::from_u128(self.store), incarnation: self.incarnation, revision }
    }

    /// The state at a revision.
    pub(crate) fn state(&self, revision: u64) -> State {
        let mut state = State::new();
        for commit in self.commits.iter().take_while(|commit| commit.revision <= revision) {
            for change in &commit.changes {
                let key = (change.customer_id.clone(), change.game_id.clone());
                match change.kind() {
                    Kind::Granted => state.insert(key, commit.revision),
                    _ => state.remove(&key),
                };
            }
        }
        state
    }

    /// How often a snapshot was asked for.
    pub(crate) fn snapshots(&self) -> usize {
        self.watched.iter().filter(|start| matches!(start, Start::Snapshot(_))).count()
    }
}

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
    pub(crate) async fn start() -> Self {
        let mut arbiter = Self::down().await;
        arbiter.go_up();
        arbiter
    }

    /// One that was never up.
    pub(crate) async fn down() -> Self {
        let world = World {
            store: 1,
            incarnation: 1,
            commits: vec![],
            compacted: 0,
            left_out: None,
            repeats: 0,
            holds_commits: false,
            holds_snapshot: false,
            silent: false,
            message_commits: 2,
            cuts: VecDeque::new(),
            watched: vec![],
            listed: 0,
        };
        // The port is free again as soon as the listener is gone: nobody connected to it.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let shared = Shared { world: Arc::new(Mutex::new(world)), changed: watch::Sender::new(()) };
        Self { shared, address, runtime: None }
    }

    /// Serves, on the same port each time.
    pub(crate) fn go_up(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (shared, address) = (self.shared.clone(), self.address);
        let serving = runtime.spawn(async move {
            let listener = loop {
                // The one before it may be going down still.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            let service = ArbiterServiceServer::new(shared);
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
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

    async fn snapshot(&mut self) -> Option<Token> {
        let (head, state, holds) = {
            let world = self.shared.world();
            (world.head(), world.state(u64::MAX), world.holds_snapshot)
        };
        let rows: Vec<_> = state.into_iter().collect();
        for rows in rows.chunks(2) {
            let entitlements = rows.iter().map(|((customer_id, game_id), since)| Entitlement {
                customer_id: customer_id.clone(),
                game_id: game_id.clone(),
                since_revision: *since,
                ..Entitlement::default()
            });
            let entitlements = entitlements.collect();
            self.send(Event::SnapshotChunk(SnapshotChunk { entitlements, revision: head.revision })).await?;
        }
        if holds {
            let mut changed = self.shared.changed.subscribe();
            while self.shared.world().holds_snapshot {
                let _ = changed.changed().await;
            }
        }
        self.send(Event::SnapshotEnd(SnapshotEnd { revision: head.revision, token: head.to_string() }))
            .await?;
        Some(head)
    }

    /// What comes after `sent`: commits, or a bookmark where there are none.
    fn next(&self, sent: Token) -> (Event, Token) {
        let world = self.shared.world();
        let head = if world.holds_commits { sent } else { world.head() };
        let new = world.commits.iter().filter(|commit| commit.revision > sent.revision);
        let new: Vec<_> =
            new.take_while(|commit| commit.revision <= head.revision).take(world.message_commits).collect();
        let Some(last) = new.last() else {
            let bookmark = Bookmark { revision: sent.revision, token: sent.to_string(), digests: None };
            return (Event::Bookmark(bookmark), sent);
        };
        let to = sent.at(last.revision);
        let kept = new.into_iter().filter(|commit| Some(commit.revision) != world.left_out);
        let commits: Vec<_> = kept.cloned().collect();
        let Some(last) = commits.last() else {
            return (
                Event::Bookmark(Bookmark { revision: to.revision, token: to.to_string(), digests: None }),
                to,
            );
        };
        let token = to.at(last.revision).to_string();
        (Event::Commits(Commits { commits, token }), to)
    }

    async fn run(mut self, from: Option<Token>) -> Option<()> {
        let mut changed = self.shared.changed.subscribe();
        while self.shared.world().silent {
            let _ = changed.changed().await;
        }
        let mut sent = match from {
            Some(token) => token,
            None => self.snapshot().await?,
        };
        loop {
            changed.mark_unchanged();
            let (event, to) = self.next(sent);
            let idle = matches!(event, Event::Bookmark(_));
            self.send(event).await?;
            sent = to;
            if idle {
                let _ = tokio::time::timeout(Duration::from_millis(20), changed.changed()).await;
            }
        }
    }
}

#[tonic::async_trait]
impl ArbiterService for Shared {
    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<BoxStream<WatchResponse>>, Status> {
        let start = request.into_inner().start.unwrap();
        let (from, left) = {
            let mut world = self.world();
            world.watched.push(start.clone());
            let from = match start {
                Start::Snapshot(_) => None,
                Start::AfterToken(token) => {
                    let token: Token = token.parse().unwrap();
                    judge(token, world.head())?;
                    if token.revision < world.compacted {
                        return refuse(Reason::RevisionCompacted);
                    }
                    Some(token.at(token.revision.saturating_sub(world.repeats)))
                }
            };
            (from, world.cuts.pop_front())
        };
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(Tail { shared: self.clone(), sender, left }.run(from));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
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
