//! Long-lived server streams.

use std::time::Duration;

use futures_util::StreamExt;
use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::OutboundConfig;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Echo, FOLLOW, Peer, REPEAT, Text, follow, repeat, soon, status_of, text};

/// One message at once, another one a little later, and no end.
fn slow() -> impl futures_util::Stream<Item = Result<Text, Status>> {
    let later = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(text("later"))
    });
    futures_util::stream::iter([Ok(text("now"))]).chain(later).chain(futures_util::stream::pending())
}

/// What a stream ends with.
async fn ended(stream: &mut tonic::Streaming<Text>) -> Status {
    loop {
        match soon(stream.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream that is cut off must not seem to end well"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn a_stream_without_a_deadline_outlives_every_timeout() {
    let config = InboundConfig { default_deadline_ms: 100, max_deadline_ms: 100, ..InboundConfig::default() };
    let peer = Peer::start(&config, Echo::plain().following(slow)).await;
    let config = OutboundConfig { timeout_ms: 100, attempt_timeout_ms: 100, ..OutboundConfig::default() };
    let outbound = peer.outbound(&config);
    let mut stream = soon(follow(&outbound)).await.unwrap();
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().text, "now");
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().text, "later");
}

#[tokio::test]
async fn a_stream_ends_at_the_deadline_that_its_caller_set() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain().following(slow)).await;
    let status = status_of(soon(peer.raw(FOLLOW, &[("grpc-timeout", "100m")], b"")).await).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason_of(&status), Some(Reason::DeadlineExceeded));
}

#[tokio::test]
async fn a_stream_that_does_not_open_in_time_is_given_up() {
    // A peer that accepts and says nothing at all.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = OutboundConfig { attempt_timeout_ms: 100, ..OutboundConfig::default() };
    let outbound = mesh::outbound::Outbound::new(
        "silent",
        &listener.local_addr().unwrap().into(),
        &config,
        &mesh::environment::Environment::system(),
    );
    let status = soon(follow(&outbound)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_whose_peer_dies_ends_with_unavailable() {
    let config = InboundConfig { drain_timeout_ms: 0, ..InboundConfig::default() };
    let peer = Peer::start(&config, Echo::plain().following(slow)).await;
    let outbound = peer.outbound(&OutboundConfig::default());
    let mut stream = soon(follow(&outbound)).await.unwrap();
    assert!(soon(stream.message()).await.is_ok());
    peer.shutdown.cancel();
    let status = ended(&mut stream).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason_of(&status), Some(Reason::Unreachable));
}

#[tokio::test]
async fn a_message_over_the_limit_in_a_stream_is_told_as_every_one_at_either_end() {
    let limits = InboundConfig { max_message_bytes: 100, ..InboundConfig::default() };
    let strict = Peer::start(&limits, Echo::plain()).await.outbound(&OutboundConfig::default());
    let limits = OutboundConfig { max_message_bytes: 100, ..OutboundConfig::default() };
    let lenient = Peer::start(&InboundConfig::default(), Echo::plain()).await.outbound(&limits);
    for outbound in [strict, lenient] {
        let asks = futures_util::stream::iter([text("first"), text("x".repeat(200))]);
        let mut answers = soon(repeat(&outbound, asks)).await.unwrap();
        let status = ended(&mut answers).await;
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::InvalidArgument, Some(Reason::MessageTooLarge))
        );
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["bytes"].as_str(), metadata["limit_bytes"].as_str()), ("203", "100"));
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_in_a_stream_are_their_senders_fault() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let answer = soon(peer.raw(REPEAT, &[], b"\xff")).await;
    assert!(Status::from_header_map(answer.headers()).is_none(), "the answer has begun");
    let status = status_of(answer).await;
    assert_eq!((status.code(), reason_of(&status)), (Code::InvalidArgument, Some(Reason::MessageMalformed)));
}
