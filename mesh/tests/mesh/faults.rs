//! A server that is told to fail now and then does so before it does anything, and tells what it is all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::OutboundConfig;
use mesh::proto::v1::DescribeRequest;
use mesh::proto::v1::mesh_service_client::MeshServiceClient;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::support::{Echo, Peer, SAY, Text, say, soon, status_of, text};

fn faults(percent: u32, methods: &[&str]) -> InboundConfig {
    let fault_methods = methods.iter().map(ToString::to_string).collect();
    InboundConfig { fault_percent: percent, fault_methods, ..InboundConfig::default() }
}

fn once() -> OutboundConfig {
    OutboundConfig { attempts: 1, ..OutboundConfig::default() }
}

/// A service, and how often it was asked.
async fn counted(config: &InboundConfig) -> (Peer, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let echo = Echo::new(move |request: Request<Text>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(request.into_inner()) }
    });
    (Peer::start_as("1.0.1", config, echo).await, asked)
}

/// Calls so often: how many were refused.
async fn refused(peer: &Peer, calls: usize) -> usize {
    let outbound = peer.outbound(&once());
    let mut refused = 0;
    for _ in 0..calls {
        if let Err(status) = soon(say(outbound.calls(), text("hello"))).await {
            assert_eq!(reason_of(&status), Some(Reason::FaultInjected));
            refused += 1;
        }
    }
    refused
}

#[tokio::test]
async fn a_fault_is_unavailable_before_anything_is_done_and_says_so() {
    let (peer, asked) = counted(&faults(100, &[])).await;
    let status = soon(say(peer.outbound(&once()).calls(), text(""))).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::FaultInjected)));
    assert_eq!(status.get_details_error_info().unwrap().metadata["percent"], "100");
    // A server that fails does not say when to come again; a caller that heard it would not count it as a failure.
    assert!(status.metadata().get("grpc-retry-pushback-ms").is_none());
    assert!(status.get_details_retry_info().is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let response = soon(peer.raw(SAY, &[], b"")).await;
    assert_eq!(response.headers()["mesh-version"], "1.0.1");
    assert_eq!(status_of(response).await.code(), Code::Unavailable);
}

#[tokio::test]
async fn the_share_that_fails_is_the_one_that_was_asked_for() {
    let (well, asked) = counted(&faults(0, &[])).await;
    assert_eq!((refused(&well, 50).await, asked.load(Ordering::SeqCst)), (0, 50));
    // A fair coin shows fewer than 60 or more than 140 heads of 200 once in a hundred million times.
    let (half, asked) = counted(&faults(50, &[])).await;
    let refused = refused(&half, 200).await;
    assert!((60..=140).contains(&refused), "{refused} of 200");
    assert_eq!(asked.load(Ordering::SeqCst), 200 - refused);
}

#[tokio::test]
async fn only_the_methods_that_are_named_fail() {
    for (methods, expected) in
        [(&["Query"][..], 0), (&["Query", "Say"], 20), (&["test.v1.Echo/Say"], 20), (&[""], 20)]
    {
        let (peer, _) = counted(&faults(100, methods)).await;
        assert_eq!(refused(&peer, 20).await, expected, "{methods:?}");
    }
}

#[tokio::test]
async fn how_a_server_is_and_what_it_is_never_fails() {
    let (peer, _) = counted(&faults(100, &[])).await;
    let outbound = peer.outbound(&once());
    let described = soon(MeshServiceClient::new(outbound.calls()).describe(DescribeRequest {})).await;
    assert_eq!(described.unwrap().into_inner().version, "1.0.1");
    let health = soon(HealthClient::new(outbound.calls()).check(HealthCheckRequest::default())).await;
    assert_eq!(health.unwrap().get_ref().status(), ServingStatus::Serving);
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let reflected: Status = status_of(soon(peer.raw(path, &[], b"")).await).await;
    assert_ne!(reason_of(&reflected), Some(Reason::FaultInjected));
}
