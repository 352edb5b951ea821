//! The one connection to a peer: made when it is first needed, by whoever needs it for all who do, and again when it is lost.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, poll_fn};
use h2::client::{Builder, SendRequest};
use tokio::time::timeout;

use super::failure::Failure;
use crate::environment::{Connector, Environment, Io};
use crate::http2::unanswered;
use crate::outbound::{Address, OutboundConfig};

/// What a peer may send on one stream before it is read, and on all of a connection: as much as hyper's clients allow.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 5 << 20;
/// What is kept of a stream that the peer does not take.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// The largest head or trailers that are taken.
const HEADERS_BYTES: u32 = 16 << 10;
/// Times that one call looks for a connection: the one that is there may have been lost without anybody knowing.
const LOOKS: usize = 2;

/// The connection to a peer, whether there is one now or not.
#[derive(Debug)]
pub(super) struct Link {
    peer: Peer,
    state: Mutex<State>,
}

/// Where a peer is, and how a connection to it is made and kept.
#[derive(Clone, Debug)]
struct Peer {
    host: String,
    port: u16,
    connector: Arc<dyn Connector>,
    connect_timeout: Duration,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
}

/// What all who wait for a connection are told.
type Making = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, Failure>>>;

#[derive(Debug, Default)]
struct State {
    /// Counts the connections, so that one that is lost is given up once, however many calls find it so.
    number: u64,
    phase: Phase,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nobody needed it yet, or it was lost, or could not be made.
    #[default]
    Idle,
    Making(Making),
    Open(SendRequest<Bytes>),
}

impl Link {
    pub(super) fn new(address: &Address, config: &OutboundConfig, environment: &Environment) -> Self {
        let peer = Peer {
            host: address.host().to_owned(),
            port: address.port(),
            connector: environment.connector.clone(),
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            keepalive_interval: Duration::from_millis(config.keepalive_interval_ms),
            keepalive_timeout: Duration::from_millis(config.keepalive_timeout_ms),
        };
        Self { peer, state: Mutex::default() }
    }

    /// A way to send one request, over the connection that is there or one that is made now. Whoever stops waiting leaves the
    /// making of it to the others, and to the next one who comes.
    pub(super) async fn sender(self: &Arc<Self>) -> Result<SendRequest<Bytes>, Failure> {
        let mut lost = Failure::Closed;
        for _ in 0..LOOKS {
            let (number, found) = self.look();
            let mut sender = match found {
                Ok(open) => open,
                // Who makes it notes that it failed, unless its task has ended otherwise: then the next one makes it anew.
                Err(making) => making.await.inspect_err(|_| self.settle(number, Phase::Idle))?,
            };
            match poll_fn(|context| sender.poll_ready(context)).await {
                Ok(()) => return Ok(sender),
                Err(error) => {
                    lost = Failure::from(error);
                    self.settle(number, Phase::Idle);
                }
            }
        }
        Err(lost)
    }

    /// The connection that is there, or the one that is being made, with its number.
    fn look(self: &Arc<Self>) -> (u64, Result<SendRequest<Bytes>, Making>) {
        let mut state = self.state();
        let found = match &state.phase {
            Phase::Open(sender) => Ok(sender.clone()),
            Phase::Making(making) => Err(making.clone()),
            Phase::Idle => {
                state.number += 1;
                let making = self.make(state.number);
                state.phase = Phase::Making(making.clone());
                Err(making)
            }
        };
        (state.number, found)
    }

    /// Makes a connection on a task of its own, which notes what became of it, whoever still waits.
    fn make(self: &Arc<Self>, number: u64) -> Making {
        let (peer, link) = (self.peer.clone(), Arc::downgrade(self));
        let making = tokio::spawn(async move {
            let made = peer.connect().await;
            if let Some(link) = link.upgrade() {
                link.settle(number, made.as_ref().map_or(Phase::Idle, |sender| Phase::Open(sender.clone())));
            }
            made
        });
        // The task ends early only with the runtime.
        making.map(|made| made.unwrap_or(Err(Failure::Closed))).boxed().shared()
    }

    /// Notes what became of a connection, unless there is a later one.
    fn settle(&self, number: u64, phase: Phase) {
        let mut state = self.state();
        if state.number == number {
            state.phase = phase;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    async fn connect(self) -> Result<SendRequest<Bytes>, Failure> {
        let connecting = self.connector.connect(self.host.clone(), self.port);
        let stream = timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| Failure::from(io::Error::from(io::ErrorKind::TimedOut)))??;
        let (sender, mut connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEADERS_BYTES)
            .enable_push(false)
            .handshake::<Box<dyn Io>, Bytes>(stream)
            .await?;
        let pings = connection.ping_pong();
        // Its errors are those of the calls on it. It ends when nobody can send on it any more and all calls are answered.
        tokio::spawn(async move {
            tokio::select! {
                // In order, so that a simulation can be repeated.
                biased;
                _ = connection => {}
                // What is dropped with the connection fails.
                () = unanswered(pings, self.keepalive_interval, self.keepalive_timeout) => {}
            }
        });
        Ok(sender)
    }
}
