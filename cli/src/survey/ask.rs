//! Asks one instance.

use mesh::outbound::Address;
use mesh::proto::v1::mesh_service_client::MeshServiceClient;
use mesh::proto::v1::{DescribeRequest, ReportRequest};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Health, Instance};
use crate::clients::Clients;

/// Asks how it is, what it is and what it has seen. What it does not answer is left out: it may be of a time before that
/// could be asked.
pub(super) async fn ask(service: &str, address: &Address, clients: &Clients, timeout_ms: u64) -> Instance {
    let outbound = clients.instance(service, address, timeout_ms);
    let mut mesh = MeshServiceClient::new(outbound.calls());
    let mut seen = mesh.clone();
    let mut health = HealthClient::new(outbound.calls());
    let (health, description, report) = tokio::join!(
        health.check(HealthCheckRequest::default()),
        mesh.describe(DescribeRequest {}),
        seen.report(ReportRequest {}),
    );
    let health = match health {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Health::Serving,
        Ok(_) => Health::NotServing,
        Err(status) if is_silence(&status) => Health::Unreachable,
        Err(_) => Health::Unknown,
    };
    let description = description.ok().map(tonic::Response::into_inner);
    Instance {
        service: description.as_ref().map_or_else(|| service.to_owned(), |told| told.name.clone()),
        address: address.authority(),
        health,
        description,
        report: report.ok().map(tonic::Response::into_inner),
    }
}

fn is_silence(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
