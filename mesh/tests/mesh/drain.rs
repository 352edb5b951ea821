//! How a server ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mesh::inbound::InboundConfig;
use mesh::outbound::OutboundConfig;
use tokio::sync::Notify;
use tonic::{Code, Request};

use crate::support::{Echo, Peer, Text, follow, say, soon, text};

fn once() -> OutboundConfig {
    OutboundConfig { attempts: 1, ..OutboundConfig::default() }
}

/// A service whose answers wait, and the two ends to steer it by: entered, release.
fn waiting() -> (Echo, Arc<Notify>, Arc<Notify>) {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handles = (entered.clone(), release.clone());
    let echo = Echo::new(move |request: Request<Text>| {
        let (entered, release) = (entered.clone(), release.clone());
        async move {
            entered.notify_one();
            release.notified().await;
            Ok(request.into_inner())
        }
    });
    (echo, handles.0, handles.1)
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let (echo, entered, release) = waiting();
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    let call = tokio::spawn(say(peer.outbound(&once()).calls(), text("last")));
    soon(entered.notified()).await;
    peer.shutdown.cancel();
    // No new connection is accepted while the drain goes on.
    soon(async {
        while tokio::net::TcpStream::connect((peer.address.host(), peer.address.port())).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!peer.served.is_finished());
    release.notify_one();
    assert_eq!(soon(call).await.unwrap().unwrap().text, "last");
    assert!(soon(peer.served).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_stream_that_ends_on_the_token_does_not_hold_the_drain_up() {
    let config = InboundConfig { drain_timeout_ms: 600_000, ..InboundConfig::default() };
    let peer = Peer::start_with(&config, |draining| {
        Echo::plain().following(move || {
            let first = futures_util::stream::iter([Ok(text("one"))]);
            first.chain(futures_util::stream::pending()).take_until(draining.clone().cancelled_owned())
        })
    })
    .await;
    let outbound = peer.outbound(&once());
    let mut stream = soon(follow(&outbound)).await.unwrap();
    assert!(soon(stream.message()).await.unwrap().is_some());
    peer.shutdown.cancel();
    assert!(soon(stream.message()).await.unwrap().is_none());
    assert!(soon(peer.served).await.unwrap().is_ok());
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_when_the_time_to_drain_is_over() {
    let (echo, entered, _release) = waiting();
    let echo = echo.following(futures_util::stream::pending);
    let peer = Peer::start(&InboundConfig { drain_timeout_ms: 100, ..InboundConfig::default() }, echo).await;
    let outbound = peer.outbound(&once());
    let call = tokio::spawn(say(outbound.calls(), text("stuck")));
    soon(entered.notified()).await;
    let mut stream = soon(follow(&outbound)).await.unwrap();
    let began = tokio::time::Instant::now();
    peer.shutdown.cancel();
    assert!(soon(peer.served).await.unwrap().is_ok());
    assert!(began.elapsed() >= Duration::from_millis(100) && began.elapsed() < Duration::from_secs(5));
    assert_eq!(soon(call).await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let config = InboundConfig { drain_timeout_ms: 600_000, ..InboundConfig::default() };
    let peer = Peer::start(&config, Echo::plain()).await;
    assert!(soon(say(peer.outbound(&once()).calls(), text(""))).await.is_ok());
    peer.shutdown.cancel();
    assert!(soon(peer.served).await.unwrap().is_ok());
}
