//! What a server says of itself, and whom it refuses.

use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::OutboundConfig;
use mesh::proto::v1::DescribeRequest;
use mesh::proto::v1::mesh_service_client::MeshServiceClient;
use mesh::version::{Description, Version};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Echo, Peer, SAY, soon, status_of};

const DESCRIBE: &str = "/gameshelf.mesh.v1.MeshService/Describe";

async fn tickets() -> Peer {
    Peer::start_as("1.2.3", &InboundConfig::default(), Echo::plain()).await
}

#[tokio::test]
async fn a_service_describes_itself() {
    let peer = tickets().await;
    let mut client = MeshServiceClient::new(peer.outbound(&OutboundConfig::default()).calls());
    let answer = soon(client.describe(DescribeRequest {})).await.unwrap().into_inner();
    let expected = Description::new("echo", Version::new(1, 2, 3))
        .requiring("other", "^3.1".parse().unwrap())
        .serving("test.v1", Version::new(1, 4, 0));
    assert_eq!(Description::try_from(answer), Ok(expected));
}

#[tokio::test]
async fn a_service_that_states_nothing_describes_nothing() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let mut client = MeshServiceClient::new(peer.outbound(&OutboundConfig::default()).calls());
    let status = soon(client.describe(DescribeRequest {})).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    // What it has not stated, it cannot refuse by.
    let response = peer.raw(SAY, &[("mesh-requires", "^7.0")], b"").await;
    assert!(response.headers().get("mesh-version").is_none());
    assert_eq!(status_of(response).await.code(), Code::Ok);
}

#[tokio::test]
async fn every_answer_carries_the_version_that_gave_it() {
    let config = InboundConfig { max_in_flight: 1, max_message_bytes: 1024, ..InboundConfig::default() };
    let peer = Peer::start_as("1.2.3", &config, Echo::new(|_| async { Err(Status::not_found("no")) })).await;
    for (path, message) in [(SAY, &[][..]), (SAY, b"\xff\xff"), ("/nothing/Here", b""), (DESCRIBE, b"")] {
        let response = peer.raw(path, &[], message).await;
        assert_eq!(response.headers()["mesh-version"], "1.2.3", "{path} {message:?}");
    }
    let refused = peer.raw(SAY, &[("mesh-requires", "^2.0")], b"").await;
    assert_eq!(refused.headers()["mesh-version"], "1.2.3");
}

#[tokio::test]
async fn a_caller_whose_range_is_not_met_is_refused_with_both_versions() {
    let peer = tickets().await;
    for range in ["^1.3", "^2.0", "^0.9", "^1.2.4"] {
        let status = status_of(peer.raw(SAY, &[("mesh-requires", range)], b"").await).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{range}");
        assert_eq!(reason_of(&status), Some(Reason::VersionIncompatible));
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["version"].as_str(), metadata["required"].as_str()), ("1.2.3", range));
        // But it may ask what it is.
        let described = peer.raw(DESCRIBE, &[("mesh-requires", range)], b"").await;
        assert_eq!(status_of(described).await.code(), Code::Ok);
    }
    for range in ["^1.2", "^1", "^1.2.3", "^1.0.9"] {
        let status = status_of(peer.raw(SAY, &[("mesh-requires", range)], b"").await).await;
        assert_eq!(status.code(), Code::Ok, "{range}");
    }
}

#[tokio::test]
async fn a_range_that_is_none_is_named() {
    let peer = tickets().await;
    for range in [">=1.0", "*", "newest"] {
        let status = status_of(peer.raw(SAY, &[("mesh-requires", range)], b"").await).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status), Some(Reason::RequirementMalformed));
        assert_eq!(status.get_details_error_info().unwrap().metadata["required"], range);
    }
}
