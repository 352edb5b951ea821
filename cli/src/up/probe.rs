//! Asks a service whether it serves, by the standard health protocol.

use std::net::SocketAddr;
use std::time::Duration;

use mesh::environment::Environment;
use mesh::outbound::{Outbound, OutboundConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the service says that it serves; as long as it takes.
pub(super) async fn serving(name: &str, address: SocketAddr, environment: &Environment) {
    // A probe is asked again soon, so it neither waits long nor tries twice.
    let config =
        OutboundConfig { timeout_ms: 500, attempt_timeout_ms: 500, attempts: 1, ..OutboundConfig::default() };
    // The address of a socket is an address of a peer.
    let Ok(address) = address.to_string().parse() else { return };
    loop {
        // A new one each time: a connection that failed once would be waited for before it is tried again.
        let outbound = Outbound::new(name, &address, &config, environment);
        let answer = HealthClient::new(outbound.calls()).check(HealthCheckRequest::default()).await;
        if answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
