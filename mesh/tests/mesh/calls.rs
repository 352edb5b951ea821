//! The outbound stack.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, task};

use mesh::environment::{Connecting, Connector, Environment, Io, Tcp};
use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::{Outbound, OutboundConfig, is_transient};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status};

use crate::support::{Echo, Peer, Text, say, soon, text};

fn quick() -> OutboundConfig {
    OutboundConfig { backoff_base_ms: 1, backoff_max_ms: 5, ..OutboundConfig::default() }
}

/// What is left of the deadline where this is called, in milliseconds.
fn remaining_ms() -> u128 {
    mesh::deadline::remaining().map_or(u128::MAX, |left| left.as_millis())
}

#[tokio::test]
async fn a_deadline_is_carried_along_and_shrinks_hop_by_hop() {
    let last =
        Peer::start(&InboundConfig::default(), Echo::new(|_| async { Ok(text(remaining_ms().to_string())) }))
            .await;
    // The hop in the middle would wait for a minute by itself.
    let patient = OutboundConfig { timeout_ms: 60_000, attempt_timeout_ms: 60_000, ..quick() };
    let next = last.outbound(&patient);
    let middle = Echo::new(move |request: Request<Text>| {
        let next = next.clone();
        async move {
            let mine = remaining_ms();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let theirs = say(next.calls(), request.into_inner()).await?;
            Ok(text(format!("{mine} {}", theirs.text)))
        }
    });
    let middle = Peer::start(&InboundConfig::default(), middle).await;
    let config = OutboundConfig { timeout_ms: 3_000, ..quick() };
    let answer = soon(say(middle.outbound(&config).calls(), text(""))).await.unwrap();
    let left: Vec<u128> = answer.text.split(' ').map(|left| left.parse().unwrap()).collect();
    assert!(left[0] <= 3_000, "{left:?}");
    assert!(left[1] + 20 <= left[0], "{left:?}");
}

#[tokio::test]
async fn a_deadline_that_passes_is_deadline_exceeded_on_every_hop() {
    let silent = Peer::start(&InboundConfig::default(), Echo::new(|_| std::future::pending())).await;
    let next = silent.outbound(&quick());
    let seen = Arc::new(Mutex::new(None));
    let middle = {
        let seen = seen.clone();
        Echo::new(move |request: Request<Text>| {
            let (next, seen) = (next.clone(), seen.clone());
            async move {
                // A task of its own outlives the request, but under the request's deadline.
                let deadline = mesh::deadline::current();
                let call = async move { say(next.calls(), request.into_inner()).await };
                let call = tokio::spawn(mesh::deadline::scope(deadline, async move {
                    let answer = call.await;
                    *seen.lock().unwrap() = answer.as_ref().err().map(Status::code);
                    answer
                }));
                call.await.unwrap()
            }
        })
    };
    let middle = Peer::start(&InboundConfig::default(), middle).await;
    let config = OutboundConfig { timeout_ms: 100, ..quick() };
    let status = soon(say(middle.outbound(&config).calls(), text(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason_of(&status), Some(Reason::DeadlineExceeded));
    soon(async {
        while seen.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(*seen.lock().unwrap(), Some(Code::DeadlineExceeded));
}

#[tokio::test]
async fn an_attempt_that_is_not_answered_is_not_repeated_to_the_same_peer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let silent = Echo::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    });
    let peer = Peer::start(&InboundConfig::default(), silent).await;
    let config = OutboundConfig { attempt_timeout_ms: 50, ..quick() };
    let status = soon(say(peer.outbound(&config).calls(), text(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(is_transient(&status));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_peer_that_is_unavailable_is_asked_again_with_the_same_request() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let echo = {
        let asked = asked.clone();
        Echo::new(move |request: Request<Text>| {
            let mut asked = asked.lock().unwrap();
            asked.push(request.into_inner().text);
            let answer = if asked.len() < 3 { Err(Status::unavailable("not yet")) } else { Ok(text("done")) };
            async move { answer }
        })
    };
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    let answer = soon(say(peer.outbound(&quick()).calls(), text("request 7"))).await;
    assert_eq!(answer.unwrap().text, "done");
    assert_eq!(*asked.lock().unwrap(), ["request 7"; 3]);
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let refusing = Echo::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err(Status::failed_precondition("no")) }
    });
    let peer = Peer::start(&InboundConfig::default(), refusing).await;
    let status = soon(say(peer.outbound(&quick()).calls(), text(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(!is_transient(&status));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// Connects as told: counts, and can turn every connection made so far into one that carries nothing any more.
#[derive(Debug, Default)]
struct Network {
    connections: AtomicUsize,
    current: Mutex<Arc<AtomicBool>>,
}

impl Network {
    fn partition(&self) {
        let mut current = self.current.lock().unwrap();
        current.store(true, Ordering::SeqCst);
        *current = Arc::default();
    }
}

impl Connector for Network {
    fn connect(&self, host: String, port: u16) -> Connecting {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let partitioned = self.current.lock().unwrap().clone();
        let connecting = Tcp.connect(host, port);
        Box::pin(async move { Ok(Box::new(Cable { io: connecting.await?, partitioned }) as Box<dyn Io>) })
    }
}

struct Cable {
    io: Box<dyn Io>,
    partitioned: Arc<AtomicBool>,
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        if self.partitioned.load(Ordering::SeqCst) {
            return task::Poll::Pending;
        }
        std::pin::Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        if self.partitioned.load(Ordering::SeqCst) {
            // As the kernel does: what is written disappears in a buffer.
            return task::Poll::Ready(Ok(bytes.len()));
        }
        std::pin::Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_shutdown(context)
    }
}

fn on(network: &Arc<Network>) -> Environment {
    Environment { connector: network.clone(), ..Environment::system() }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable_after_bounded_attempts() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let network = Arc::new(Network::default());
    let config = OutboundConfig { attempts: 3, ..quick() };
    let outbound = Outbound::new("echo", &address.into(), &config, &on(&network));
    let status = soon(say(outbound.calls(), text(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason_of(&status), Some(Reason::Unreachable));
    assert_eq!(network.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_told_as_every_message_over_a_limit() {
    let peer =
        Peer::start(&InboundConfig::default(), Echo::new(|_| async { Ok(text("x".repeat(2000))) })).await;
    let config = OutboundConfig { max_message_bytes: 1024, ..quick() };
    let status = soon(say(peer.outbound(&config).calls(), text(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason_of(&status), Some(Reason::MessageTooLarge));
}

#[tokio::test]
async fn a_peer_that_starts_late_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = OutboundConfig { attempts: 20, backoff_base_ms: 20, backoff_max_ms: 200, ..quick() };
    let outbound = Outbound::new("echo", &address.into(), &config, &Environment::system());
    let call = tokio::spawn(async move { say(outbound.calls(), text("hello")).await });
    tokio::task::yield_now().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _peer = Peer::start_on(listener, &InboundConfig::default(), |_| Echo::plain());
    assert_eq!(soon(call).await.unwrap().unwrap().text, "hello");
}

#[tokio::test]
async fn a_partition_is_noticed_by_keepalive_and_the_call_goes_over_a_new_connection() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let network = Arc::new(Network::default());
    let config = OutboundConfig {
        timeout_ms: 15_000,
        attempt_timeout_ms: 15_000,
        keepalive_interval_ms: 100,
        keepalive_timeout_ms: 100,
        ..quick()
    };
    let outbound = Outbound::new("echo", &peer.address, &config, &on(&network));
    assert!(soon(say(outbound.calls(), text("one"))).await.is_ok());
    assert_eq!(network.connections.load(Ordering::SeqCst), 1);
    network.partition();
    assert_eq!(soon(say(outbound.calls(), text("two"))).await.unwrap().text, "two");
    assert_eq!(network.connections.load(Ordering::SeqCst), 2);
}
