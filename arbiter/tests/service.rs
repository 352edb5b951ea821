//! The arbiter as its callers see it: `run` on a port of its own, called over gRPC through the mesh.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::unnecessary_wraps, reason = "fields of messages are optional")]

#[path = "service/causality.rs"]
mod causality;
#[path = "service/defaults.rs"]
mod defaults;
#[path = "service/failing.rs"]
mod failing;
#[path = "service/refusals.rs"]
mod refusals;
#[path = "service/watching.rs"]
mod watching;

use std::path::Path;
use std::time::Duration;

use arbiter::{Config, RunError};
use clap::Parser;
use gameshelf::errors::{Reason as ErrorReason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Cause, CheckOwnershipRequest, GetHeadRequest, GrantRequest, ListEntitlementsRequest, OnOwned,
    OwnershipPair, Reason, RevokeRequest, SnapshotStart, WatchRequest,
};
use gameshelf::proto::freshness::v1::{Freshness, Source, freshness::Requirement};
use gameshelf::tokens::Token;
use mesh::environment::Environment;
use mesh::outbound::{Calls, Outbound, OutboundConfig, Streams};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    outbound: OutboundConfig,
}

/// A running arbiter, and two ways to call it.
struct Running {
    client: ArbiterServiceClient<Calls>,
    watcher: ArbiterServiceClient<Streams>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

fn url_in(directory: &Path) -> String {
    format!("sqlite:{}", directory.join("store.sqlite").display())
}

async fn start(url: &str, options: &[&str]) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let arguments = ["arbiter", "--database-url", url].into_iter().chain(options.iter().copied());
    let Arguments { config, outbound } = Arguments::parse_from(arguments);
    let shutdown = CancellationToken::new();
    let environment = Environment::system();
    let outbound = Outbound::new("arbiter", &address, &outbound, &environment);
    let task = tokio::spawn(arbiter::run(config, environment, listener, shutdown.clone()));
    Running {
        client: ArbiterServiceClient::new(outbound.calls()),
        watcher: ArbiterServiceClient::new(outbound.streams()),
        shutdown,
        task,
    }
}

/// Starts an arbiter and waits until it serves.
async fn serving(url: &str, options: &[&str]) -> Running {
    let mut running = start(url, options).await;
    while running.client.get_head(GetHeadRequest {}).await.is_err() {
        tokio::task::yield_now().await;
    }
    running
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn cause() -> Option<Cause> {
    Some(Cause { reason: Reason::Gift.into(), actor: "test".to_owned(), order_id: String::new() })
}

fn grant(customer_id: &str, games: &[&str]) -> GrantRequest {
    GrantRequest {
        request_id: Uuid::now_v7().to_string(),
        customer_id: customer_id.to_owned(),
        game_ids: games.iter().map(|game| (*game).to_owned()).collect(),
        on_owned: OnOwned::Refuse.into(),
        cause: cause(),
        ..GrantRequest::default()
    }
}

fn list(customer_id: &str) -> ListEntitlementsRequest {
    ListEntitlementsRequest { customer_id: customer_id.to_owned(), ..ListEntitlementsRequest::default() }
}

fn at_least(token: &str) -> Option<Freshness> {
    Some(Freshness { requirement: Some(Requirement::AtLeastAsFreshAs(token.to_owned())) })
}

fn refused(result: Result<impl std::fmt::Debug, Status>) -> (Code, Option<ErrorReason>) {
    let status = result.expect_err("it must be refused");
    (status.code(), reason_of(&status))
}

#[tokio::test]
async fn a_token_of_a_write_that_a_restore_undid_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (url, store) = (url_in(directory.path()), directory.path().join("store.sqlite"));
    let mut arbiter = serving(&url, &[]).await;
    arbiter.client.grant(grant("c", &["a"])).await.unwrap();
    arbiter.stop().await;
    let backup = std::fs::read(&store).unwrap();
    let mut arbiter = serving(&url, &[]).await;
    let token = arbiter.client.grant(grant("c", &["b"])).await.unwrap().into_inner().token;
    arbiter.stop().await;
    std::fs::write(&store, backup).unwrap();
    let mut arbiter = serving(&url, &[]).await;
    // The head is as far as the token by now, with another write.
    arbiter.client.grant(grant("d", &["x"])).await.unwrap();
    let request = ListEntitlementsRequest { freshness: at_least(&token), ..list("c") };
    let answer = arbiter.client.list_entitlements(request).await;
    assert_eq!(refused(answer), (Code::FailedPrecondition, Some(ErrorReason::RevisionUnknown)));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_grant_is_seen_by_every_read_and_a_second_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let granted = arbiter.client.grant(grant("c", &["tiny-forest", "old-sea"])).await.unwrap().into_inner();
    assert_eq!((granted.revision, granted.replayed), (1, false));
    let listed = arbiter.client.list_entitlements(list("c")).await.unwrap().into_inner();
    let games: Vec<_> =
        listed.entitlements.iter().map(|one| (one.game_id.as_str(), one.since_revision)).collect();
    assert_eq!(games, [("old-sea", 1), ("tiny-forest", 1)]);
    let provenance = listed.provenance.unwrap();
    assert_eq!((provenance.revision, provenance.source(), provenance.degraded), (1, Source::Arbiter, false));
    assert_eq!((provenance.age, &provenance.token), (Some(prost_types::Duration::default()), &granted.token));

    let status = arbiter.client.grant(grant("c", &["new-moon", "old-sea"])).await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status)),
        (Code::FailedPrecondition, Some(ErrorReason::AlreadyOwned))
    );
    assert_eq!(metadata_of(&status, "revision").as_deref(), Some("1"));
    assert_eq!(metadata_of(&status, "game_ids").as_deref(), Some("old-sea"));
    let violations = status.get_details_precondition_failure().unwrap().violations;
    assert_eq!((violations.len(), violations[0].subject.as_str()), (1, "customers/c/games/old-sea"));

    let pair = |game: &str| OwnershipPair { customer_id: "c".to_owned(), game_id: game.to_owned() };
    let pairs = vec![pair("old-sea"), pair("new-moon")];
    let checked =
        arbiter.client.check_ownership(CheckOwnershipRequest { pairs, freshness: at_least(&granted.token) });
    let answers = checked.await.unwrap().into_inner().answers;
    assert_eq!([answers[0].owned, answers[1].owned], [true, false], "the refused grant changed nothing");
    arbiter.stop().await;
}

#[tokio::test]
async fn a_repeat_has_no_second_effect_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let url = url_in(directory.path());
    let mut arbiter = serving(&url, &[]).await;
    let request = grant("c", &["tiny-forest"]);
    let first = arbiter.client.grant(request.clone()).await.unwrap().into_inner();
    let refusal = grant("c", &["tiny-forest"]);
    let refused_first = arbiter.client.grant(refusal.clone()).await.unwrap_err();
    assert_eq!(metadata_of(&refused_first, "replayed").as_deref(), Some("false"));
    arbiter.stop().await;

    let mut arbiter = serving(&url, &[]).await;
    let again = arbiter.client.grant(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.revision, &again.token, again.replayed), (first.revision, &first.token, true));
    let refused_again = arbiter.client.grant(refusal).await.unwrap_err();
    assert_eq!(metadata_of(&refused_again, "replayed").as_deref(), Some("true"));
    let other = GrantRequest { customer_id: "d".to_owned(), ..request };
    assert_eq!(
        refused(arbiter.client.grant(other).await),
        (Code::InvalidArgument, Some(ErrorReason::RequestIdReused))
    );
    arbiter.stop().await;
}

#[tokio::test]
async fn pages_show_one_revision_whatever_is_written_between_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    arbiter.client.grant(grant("c", &["a", "b", "c", "d", "e"])).await.unwrap();
    let mut request = ListEntitlementsRequest { page_size: 2, ..list("c") };
    let mut games = Vec::new();
    loop {
        let page = arbiter.client.list_entitlements(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.provenance.unwrap().revision, 1, "every page shows the first one's revision");
        games.extend(page.entitlements.into_iter().map(|one| one.game_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let revoke = RevokeRequest {
            request_id: Uuid::now_v7().to_string(),
            customer_id: "c".to_owned(),
            game_ids: vec![["c", "e"][games.len() / 2 - 1].to_owned()],
            cause: cause(),
            ..RevokeRequest::default()
        };
        arbiter.client.revoke(revoke).await.unwrap();
    }
    assert_eq!(games, ["a", "b", "c", "d", "e"]);
    let now = arbiter.client.list_entitlements(list("c")).await.unwrap().into_inner();
    assert_eq!(now.entitlements.len(), 3);

    let foreign = ListEntitlementsRequest { customer_id: "d".to_owned(), ..request.clone() };
    let status = arbiter.client.list_entitlements(foreign).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "page_token");
    let unknown = ListEntitlementsRequest { page_token: "nonsense".to_owned(), ..request };
    assert_eq!(
        refused(arbiter.client.list_entitlements(unknown).await),
        (Code::InvalidArgument, Some(ErrorReason::InvalidFields))
    );
    arbiter.stop().await;
}

#[tokio::test]
async fn a_token_of_another_store_or_from_beyond_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let granted = arbiter.client.grant(grant("c", &["a"])).await.unwrap().into_inner();
    let token: Token = granted.token.parse().unwrap();
    for (token, expected) in [
        (Token { store_id: Uuid::from_u128(1), ..token }, ErrorReason::TokenForeign),
        (token.at(2), ErrorReason::RevisionUnknown),
        (Token { incarnation: token.incarnation + 1, ..token }, ErrorReason::RevisionUnknown),
    ] {
        let request = ListEntitlementsRequest { freshness: at_least(&token.to_string()), ..list("c") };
        let listed = arbiter.client.list_entitlements(request).await;
        assert_eq!(refused(listed), (Code::FailedPrecondition, Some(expected)));
        let start = Some(Start::AfterToken(token.to_string()));
        let watched = arbiter.watcher.watch(WatchRequest { start, ..WatchRequest::default() }).await;
        assert_eq!(refused(watched), (Code::FailedPrecondition, Some(expected)));
    }
    arbiter.stop().await;
}

#[tokio::test]
async fn a_watch_is_a_snapshot_and_the_tail_from_it_and_resumes_by_token() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    arbiter.client.grant(grant("c", &["a", "b"])).await.unwrap();
    let start = Some(Start::Snapshot(SnapshotStart::default()));
    let mut stream =
        arbiter.watcher.watch(WatchRequest { start, ..WatchRequest::default() }).await.unwrap().into_inner();
    let mut next = async || loop {
        let event = stream.message().await.unwrap().expect("the stream goes on").event.unwrap();
        if !matches!(event, Event::Bookmark(_)) {
            return event;
        }
    };
    let Event::SnapshotChunk(chunk) = next().await else { panic!("a chunk comes first") };
    assert_eq!((chunk.entitlements.len(), chunk.revision), (2, 1));
    let Event::SnapshotEnd(end) = next().await else { panic!("then the marker") };
    assert_eq!(end.revision, 1);
    arbiter.client.grant(grant("d", &["a"])).await.unwrap();
    let Event::Commits(commits) = next().await else { panic!("then the commits") };
    assert_eq!((commits.commits[0].revision, commits.commits[0].changes[0].customer_id.as_str()), (2, "d"));

    let start = Some(Start::AfterToken(end.token));
    let mut resumed =
        arbiter.watcher.watch(WatchRequest { start, ..WatchRequest::default() }).await.unwrap().into_inner();
    let event = resumed.message().await.unwrap().unwrap().event.unwrap();
    assert_eq!(event, Event::Commits(commits), "the same commits again, and nothing of the snapshot");

    // A drain ends the stream, and says that the rest is to be had later.
    arbiter.shutdown.cancel();
    let status = loop {
        match resumed.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end has a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(ErrorReason::ShuttingDown)));
    arbiter.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_in_use_by_another_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = serving(&url_in(directory.path()), &[]).await;
    let second = start(&url_in(directory.path()), &[]).await;
    let error = second.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    first.stop().await;
}

#[tokio::test]
async fn an_unreachable_store_is_waited_for_and_said_so() {
    // A port on which nobody listens: it was ours a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("postgres://nobody@127.0.0.1:{port}/nothing");
    let mut arbiter = start(&url, &["--outbound-attempts", "1"]).await;
    let status = arbiter.client.grant(grant("c", &["a"])).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(ErrorReason::StoreUnavailable)));
    assert!(status.get_details_retry_info().is_some());
    tokio::time::timeout(Duration::from_secs(20), arbiter.stop())
        .await
        .expect("it can be stopped while it waits");
}

#[tokio::test]
async fn a_message_over_the_limit_is_told_with_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &["--inbound-max-message-bytes", "2048"]).await;
    let large = "x".repeat(120);
    let games: Vec<String> = (0..100).map(|number| format!("{large}{number}")).collect();
    let games: Vec<&str> = games.iter().map(String::as_str).collect();
    let status = arbiter.client.grant(grant("c", &games)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.get_details_error_info().unwrap().metadata.values().any(|value| value == "2048"));
    arbiter.stop().await;
}
