//! The inbound stack.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::OutboundConfig;
use tokio::sync::Notify;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::support::{Echo, Peer, SAY, SERVICE, Text, follow, say, soon, status_of, text, unary};

fn once() -> OutboundConfig {
    OutboundConfig { attempts: 1, ..OutboundConfig::default() }
}

#[tokio::test]
async fn one_request_over_the_limit_is_refused_at_once() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let echo = {
        let (entered, release) = (entered.clone(), release.clone());
        Echo::new(move |request: Request<Text>| {
            let (entered, release) = (entered.clone(), release.clone());
            async move {
                entered.notify_one();
                release.notified().await;
                Ok(request.into_inner())
            }
        })
    };
    let peer =
        Peer::start(&InboundConfig { max_in_flight: 1, max_queued: 0, ..InboundConfig::default() }, echo)
            .await;
    let outbound = peer.outbound(&once());
    let first = tokio::spawn(say(outbound.calls(), text("first")));
    soon(entered.notified()).await;

    let status = soon(say(outbound.calls(), text("second"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason_of(&status), Some(Reason::Overloaded));
    assert_eq!(status.get_details_error_info().unwrap().metadata["limit"], "1");
    assert!(status.get_details_retry_info().is_some());
    // Health is told all the same.
    let mut health = HealthClient::new(outbound.calls());
    assert!(soon(health.check(HealthCheckRequest::default())).await.is_ok());

    release.notify_one();
    assert_eq!(soon(first).await.unwrap().unwrap().text, "first");
    release.notify_one();
    assert!(soon(say(outbound.calls(), text("third"))).await.is_ok());
}

#[tokio::test]
async fn a_panic_is_an_internal_error_that_tells_nothing() {
    let echo = Echo::new(|request: Request<Text>| async move {
        assert_ne!(request.get_ref().text, "panic", "a secret");
        Ok(request.into_inner())
    });
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    let outbound = peer.outbound(&once());
    let status = soon(say(outbound.calls(), text("panic"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(reason_of(&status), Some(Reason::Panic));
    assert!(!format!("{status:?}").contains("secret"));
    assert!(soon(say(outbound.calls(), text("next"))).await.is_ok());
}

#[tokio::test]
async fn a_panic_within_a_stream_ends_the_stream_with_an_internal_error() {
    let panicking = || {
        let later = futures_util::stream::once(async {
            tokio::task::yield_now().await;
            panic!("a secret")
        });
        tokio_stream::iter([Ok(text("one"))]).chain(later)
    };
    let peer = Peer::start(&InboundConfig::default(), Echo::plain().following(panicking)).await;
    let mut stream = soon(follow(&peer.outbound(&once()))).await.unwrap();
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().text, "one");
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(reason_of(&status), Some(Reason::Panic));
}

#[tokio::test]
async fn a_message_over_the_limit_is_an_invalid_argument_that_names_the_limit() {
    let peer =
        Peer::start(&InboundConfig { max_message_bytes: 1024, ..InboundConfig::default() }, Echo::plain())
            .await;
    let status = soon(say(peer.outbound(&once()).calls(), text("x".repeat(2000)))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason_of(&status), Some(Reason::MessageTooLarge));
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["bytes"].as_str(), metadata["limit_bytes"].as_str()), ("2003", "1024"));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_an_invalid_argument() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let status = status_of(peer.raw(SAY, &[], b"\xff\xff\xff").await).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason_of(&status), Some(Reason::MessageMalformed));
}

#[tokio::test]
async fn a_method_or_service_that_is_not_there_is_named_as_such() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let outbound = peer.outbound(&once());
    for path in ["/test.v1.Echo/Nothing", "/test.v1.Nothing/Say"] {
        let status = soon(unary(outbound.calls(), path, text(""))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(reason_of(&status), Some(Reason::MethodUnknown));
    }
}

#[tokio::test]
async fn a_deadline_is_told_by_the_server_as_deadline_exceeded() {
    let silent = Echo::new(|_| std::future::pending());
    let config = InboundConfig { default_deadline_ms: 30, max_deadline_ms: 60, ..InboundConfig::default() };
    let peer = Peer::start(&config, silent).await;
    // With tonic's own timer running beside ours, without one, and with one that would last too long.
    for (headers, timeout_ms) in
        [(&[("grpc-timeout", "20m")][..], "20"), (&[], "30"), (&[("grpc-timeout", "1H")], "60")]
    {
        for _ in 0..10 {
            let status = status_of(soon(peer.raw(SAY, headers, b"")).await).await;
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert_eq!(reason_of(&status), Some(Reason::DeadlineExceeded));
            assert_eq!(status.get_details_error_info().unwrap().metadata["timeout_ms"], timeout_ms);
        }
    }
}

async fn check(peer: &Peer, service: &str) -> Result<ServingStatus, Code> {
    let mut health = HealthClient::new(peer.outbound(&once()).calls());
    let request = HealthCheckRequest { service: service.to_owned() };
    soon(health.check(request))
        .await
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.code())
}

#[tokio::test]
async fn health_is_not_serving_then_serving_then_not_serving() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let watch = |service: &str| {
        let mut health = HealthClient::new(peer.outbound(&once()).streams());
        let request = HealthCheckRequest { service: service.to_owned() };
        async move { health.watch(request).await.unwrap().into_inner() }
    };
    let mut known = watch(SERVICE).await;
    let mut unknown = watch("test.v1.Nothing").await;
    assert_eq!(check(&peer, "").await, Ok(ServingStatus::NotServing));
    assert_eq!(check(&peer, SERVICE).await, Ok(ServingStatus::NotServing));
    assert_eq!(check(&peer, "test.v1.Nothing").await, Err(Code::NotFound));
    assert_eq!(soon(unknown.message()).await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    assert_eq!(soon(known.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);

    peer.health.set_serving(true);
    assert_eq!(check(&peer, "").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&peer, SERVICE).await, Ok(ServingStatus::Serving));
    assert_eq!(soon(known.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);

    peer.shutdown.cancel();
    assert_eq!(soon(known.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    peer.health.set_serving(true);
    assert!(!peer.health.is_serving());
    // Both streams end by themselves, so that they do not hold the drain up.
    assert!(soon(known.message()).await.unwrap().is_none());
    assert!(soon(unknown.message()).await.unwrap().is_none());
    assert!(soon(peer.served).await.unwrap().is_ok());
}

macro_rules! lists_what_is_served {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version::{ListServiceResponse, ServerReflectionRequest};

            let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
            let mut client = ServerReflectionClient::new(peer.outbound(&once()).streams());
            let ask =
                |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
            let asks = tokio_stream::iter([
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned())),
            ]);
            let mut answers = soon(client.server_reflection_info(asks)).await.unwrap().into_inner();
            let listed = soon(answers.message()).await.unwrap().unwrap().message_response;
            let Some(MessageResponse::ListServicesResponse(ListServiceResponse { service })) = listed else {
                panic!("services are listed, not {listed:?}");
            };
            let mut names: Vec<_> = service.into_iter().map(|service| service.name).collect();
            names.sort();
            assert_eq!(
                names,
                [
                    "grpc.health.v1.Health",
                    "grpc.reflection.v1.ServerReflection",
                    "grpc.reflection.v1alpha.ServerReflection",
                    SERVICE
                ]
            );
            let file = soon(answers.message()).await.unwrap().unwrap().message_response;
            assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))));
        }
    };
}

lists_what_is_served!(reflection_v1_lists_what_is_served_and_nothing_else, v1);
lists_what_is_served!(reflection_v1alpha_lists_what_is_served_and_nothing_else, v1alpha);

#[tokio::test]
async fn descriptors_that_are_none_are_an_error_and_not_a_panic() {
    let server = mesh::inbound::Server::new(
        &[SERVICE],
        &InboundConfig::default(),
        &mesh::environment::Environment::system(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = tonic::service::Routes::new(Echo::plain());
    let end = server.serve(listener, routes, &[b"\xff"], tokio_util::sync::CancellationToken::new());
    assert!(tokio::time::timeout(Duration::from_secs(20), end).await.unwrap().is_err());
}
