//! What holds where nothing is configured.

use gameshelf::errors::{Reason as ErrorReason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1::GrantRequest;
use mesh::environment::Environment;
use tonic::Code;
use uuid::{NoContext, Timestamp, Uuid};

use crate::{grant, serving, url_in};

const MINUTE_S: u64 = 60;
const THIRTY_DAYS_S: u64 = 30 * 24 * 60 * MINUTE_S;

/// A request with an id that was made so long ago.
fn made_ago(seconds: u64, game_id: &str) -> GrantRequest {
    let made_at_s = Environment::system().clock.unix_ms() / 1_000 - seconds;
    let request_id = Uuid::new_v7(Timestamp::from_unix(NoContext, made_at_s, 0));
    GrantRequest { request_id: request_id.to_string(), ..grant("c", &[game_id]) }
}

#[tokio::test]
async fn request_ids_are_good_for_thirty_days() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let last = made_ago(THIRTY_DAYS_S - MINUTE_S, "g");
    assert!(!arbiter.client.grant(last.clone()).await.unwrap().into_inner().replayed);
    assert!(arbiter.client.grant(last).await.unwrap().into_inner().replayed);
    let status = arbiter.client.grant(made_ago(THIRTY_DAYS_S + MINUTE_S, "h")).await.unwrap_err();
    let told = (status.code(), reason_of(&status));
    assert_eq!(told, (Code::FailedPrecondition, Some(ErrorReason::RequestIdExpired)), "{status}");
    assert_eq!(metadata_of(&status, "retention_ms"), Some((THIRTY_DAYS_S * 1_000).to_string()));
    arbiter.stop().await;
}
