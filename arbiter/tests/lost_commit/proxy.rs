//! A way to PostgreSQL that loses what it is told to lose.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::protocol::{Frame, Frames, Request, Requests, Statement};

/// A wait this long has failed; it is far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What becomes of a commit.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It waits on the way until the gate opens, and then goes well.
    Delayed(oneshot::Receiver<()>),
    /// The connection is cut, and the server never gets it.
    Dropped(Aftermath),
    /// The server has committed it when the connection is cut, and its answer is lost.
    Unanswered(Aftermath),
    /// The server has executed it when the connection is cut, and its transaction is open until it is told how to end.
    Open(oneshot::Receiver<End>),
    /// The server has committed it, its answer is under way for ever, and the connection stays.
    Withheld,
    /// Nothing more is heard of the server, and the connection stays, as when the network is divided.
    Silent,
    /// The connection is cut, and the server gets it when the gate opens.
    Late(oneshot::Receiver<()>),
}

/// What comes after a cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aftermath {
    /// Whoever connects again is served.
    Reconnect,
    /// Nobody gets through, over the other connections neither, until [`Proxy::heal`].
    Outage,
}

/// How an open transaction ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Commit,
    Abort,
}

/// What has been seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Commits that a client has sent.
    pub(crate) commits: usize,
    /// New epochs that the server has committed.
    pub(crate) epochs: usize,
    /// Commits whose answer is withheld.
    pub(crate) withheld: usize,
    /// Connections that were cut in a commit.
    pub(crate) cuts: usize,
    /// Commits of those that the server has done with since.
    pub(crate) ended: usize,
}

/// A way to PostgreSQL, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Host and port of the server.
    server: String,
    address: SocketAddr,
    /// Keeps the port ours while nobody listens on it, so that connecting is refused.
    _port: TcpSocket,
    fates: Mutex<VecDeque<Fate>>,
    seen: watch::Sender<Seen>,
    is_up: watch::Sender<bool>,
}

impl Proxy {
    /// Opens a way to the server at `host:port`.
    pub(crate) fn start(server: &str) -> Self {
        let port = reusable_socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            address,
            _port: port,
            fates: Mutex::default(),
            seen: watch::Sender::default(),
            is_up: watch::Sender::new(true),
        });
        let task = tokio::spawn(accept(Arc::clone(&shared)));
        Self { shared, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Says what becomes of the next commits. Those after them go well.
    pub(crate) fn next_commits(&self, fates: impl IntoIterator<Item = Fate>) {
        self.shared.fates().extend(fates);
    }

    /// Ends an outage.
    pub(crate) fn heal(&self) {
        self.shared.is_up.send_replace(true);
    }

    /// Lets nobody through, over connections that stand neither, until [`Proxy::heal`].
    pub(crate) fn outage(&self) {
        self.shared.is_up.send_replace(false);
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.shared.seen.borrow()
    }

    /// Waits until something has been seen.
    pub(crate) async fn until(&self, holds: impl Fn(&Seen) -> bool) {
        let mut seen = self.shared.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| holds(seen))).await.map(drop);
        assert!(waited.is_ok(), "waited in vain; seen so far: {:?}", self.seen());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.is_up.send_replace(false);
    }
}

impl Shared {
    fn fates(&self) -> std::sync::MutexGuard<'_, VecDeque<Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    fn listen(&self) -> TcpListener {
        reusable_socket(self.address).listen(64).unwrap()
    }
}

/// A socket that shares its port with one that does not listen.
fn reusable_socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn becomes(is_up: &mut watch::Receiver<bool>, wanted: bool) {
    // The sender lives as long as whoever waits.
    let _ = is_up.wait_for(|is_up| *is_up == wanted).await.map(drop);
}

async fn accept(shared: Arc<Shared>) {
    let mut is_up = shared.is_up.subscribe();
    loop {
        becomes(&mut is_up, true).await;
        let listener = shared.listen();
        loop {
            tokio::select! {
                biased;
                () = becomes(&mut is_up, false) => break,
                accepted = listener.accept() => {
                    let (client, _) = accepted.unwrap();
                    // An error is the end of the connection, which is what either side makes of it.
                    tokio::spawn(relay(Arc::clone(&shared), client));
                }
            }
        }
    }
}

/// One side of a connection.
struct Side {
    frames: Frames<ReadHalf<TcpStream>>,
    writer: WriteHalf<TcpStream>,
}

impl Side {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = split(stream);
        Ok(Self { frames: Frames::new(reader), writer })
    }

    async fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        for frame in frames {
            self.writer.write_all(frame.bytes()).await?;
        }
        Ok(())
    }

    /// Reads the server's answers up to one, and hands each on.
    async fn read_until(
        &mut self,
        is_last: impl Fn(&Frame) -> bool,
        mut client: Option<&mut Side>,
    ) -> io::Result<()> {
        loop {
            let frame = self.frames.next().await?;
            if let Some(client) = &mut client {
                client.writer.write_all(frame.bytes()).await?;
            }
            if is_last(&frame) {
                return Ok(());
            }
        }
    }
}

struct Connection {
    shared: Arc<Shared>,
    client: Side,
    server: Side,
}

async fn relay(shared: Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let server = Side::new(TcpStream::connect(&shared.server).await?)?;
    let mut is_up = shared.is_up.subscribe();
    let mut connection = Connection { shared, client: Side::new(client)?, server };
    connection.start_up().await?;
    let mut requests = Requests::default();
    loop {
        tokio::select! {
            // An outage comes first: nothing gets through once it has begun.
            biased;
            () = becomes(&mut is_up, false) => return Ok(()),
            frame = connection.client.frames.next() => {
                let Some(request) = requests.push(frame?) else { continue };
                match connection.pass(request).await? {
                    Some(passed) => connection = passed,
                    None => return Ok(()),
                }
            }
            frame = connection.server.frames.next() => connection.client.send(&[frame?]).await?,
        }
    }
}

impl Connection {
    /// Passes the first message on; a client that asks for encryption is told that there is none, as messages must be read.
    async fn start_up(&mut self) -> io::Result<()> {
        let mut first = self.client.frames.next_of_startup().await?;
        if first.asks_for_encryption() {
            self.client.writer.write_all(b"N").await?;
            first = self.client.frames.next_of_startup().await?;
        }
        self.server.send(&[first]).await
    }

    /// Passes a request on, or does with it what was told. Returns nothing when the client was cut off.
    async fn pass(mut self, request: Request) -> io::Result<Option<Self>> {
        match request.statement {
            Statement::Commit => {
                let fate = self.shared.fates().pop_front();
                self.shared.note(|seen| seen.commits += 1);
                match fate {
                    Some(fate) => return self.meet(fate, request.frames).await,
                    None => self.server.send(&request.frames).await?,
                }
            }
            Statement::Epoch => {
                self.server.send(&request.frames).await?;
                self.server.read_until(Frame::is_ready_for_query, Some(&mut self.client)).await?;
                self.shared.note(|seen| seen.epochs += 1);
            }
            Statement::Other => self.server.send(&request.frames).await?,
        }
        Ok(Some(self))
    }

    async fn meet(mut self, fate: Fate, mut frames: Vec<Frame>) -> io::Result<Option<Self>> {
        match fate {
            Fate::Delayed(gate) => {
                opened(gate).await?;
                self.server.send(&frames).await?;
                return Ok(Some(self));
            }
            Fate::Withheld => {
                self.server.send(&frames).await?;
                self.server.read_until(Frame::is_ready_for_query, None).await?;
                self.shared.note(|seen| seen.withheld += 1);
                return std::future::pending().await;
            }
            Fate::Silent => return std::future::pending().await,
            Fate::Dropped(aftermath) => drop(self.cut(aftermath)),
            Fate::Unanswered(aftermath) => {
                self.server.send(&frames).await?;
                self.server.read_until(Frame::is_ready_for_query, None).await?;
                drop(self.cut(aftermath));
            }
            Fate::Open(end) => {
                // Without its sync the transaction stays open; a flush lets the server say that it is done with the rest.
                frames.pop();
                frames.push(Frame::flush());
                self.server.send(&frames).await?;
                let executed = |frame: &Frame| frame.is_command_complete() || frame.is_error();
                self.server.read_until(executed, None).await?;
                let (mut server, shared) = self.cut(Aftermath::Reconnect);
                if let End::Commit = opened(end).await? {
                    server.send(&[Frame::sync()]).await?;
                    server.read_until(Frame::is_ready_for_query, None).await?;
                }
                drop(server);
                shared.note(|seen| seen.ended += 1);
            }
            Fate::Late(gate) => {
                let (mut server, shared) = self.cut(Aftermath::Reconnect);
                opened(gate).await?;
                server.send(&frames).await?;
                server.read_until(Frame::is_ready_for_query, None).await?;
                shared.note(|seen| seen.ended += 1);
            }
        }
        Ok(None)
    }

    /// Cuts the client off, and leaves the connection to the server.
    fn cut(self, aftermath: Aftermath) -> (Side, Arc<Shared>) {
        let Self { shared, client, server } = self;
        // The outage comes first: a client that is cut off connects again at once.
        if let Aftermath::Outage = aftermath {
            shared.is_up.send_replace(false);
        }
        drop(client);
        shared.note(|seen| seen.cuts += 1);
        (server, shared)
    }
}

/// Waits for a gate. One whose test has ended opens no more.
async fn opened<T>(gate: oneshot::Receiver<T>) -> io::Result<T> {
    gate.await.map_err(|_| io::ErrorKind::Interrupted.into())
}
