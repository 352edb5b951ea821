//! What a caller has seen of the store is told with each answer, and never taken back by a later one.

use gameshelf::errors::{Reason, metadata_of};
use gameshelf::proto::arbiter::v1::{GetHeadRequest, SnapshotStart, WatchRequest, watch_request::Start};
use gameshelf::tokens::Token;
use mesh::causal::{self, Session};
use tonic::{Code, Status};

use super::{Running, grant, list, refused, serving, url_in};

/// How far a session has seen the one store that it knows.
fn seen(session: &Session) -> u64 {
    let [token] = session.tokens().try_into().expect("one store");
    token.position
}

/// A session that has seen what a token stands for.
fn having_seen(token: Token) -> Session {
    Session::resumed([causal::Token { scope: token.scope().into(), position: token.revision }])
}

async fn head(arbiter: &Running, session: &Session) -> Result<Token, Status> {
    let answer = session.run(arbiter.client.clone().get_head(GetHeadRequest {})).await?;
    Ok(answer.into_inner().provenance.unwrap().token.parse().unwrap())
}

#[tokio::test]
async fn every_answer_tells_how_far_it_has_shown_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let session = Session::new();
    let first = grant("c", &["tiny-forest"]);
    session.run(arbiter.client.grant(first.clone())).await.unwrap();
    assert_eq!(seen(&session), 1, "a write");
    arbiter.client.grant(grant("c", &["old-sea"])).await.unwrap();
    session.run(arbiter.client.list_entitlements(list("c"))).await.unwrap();
    assert_eq!(seen(&session), 2, "a read");
    arbiter.client.grant(grant("c", &["new-moon"])).await.unwrap();
    let judged = refused(session.run(arbiter.client.grant(grant("c", &["old-sea"]))).await);
    assert_eq!((judged.1, seen(&session)), (Some(Reason::AlreadyOwned), 3), "a refusal");
    let other = Session::new();
    other.run(arbiter.client.grant(first)).await.unwrap();
    assert_eq!(seen(&other), 1, "a repeat tells of the first time");
    arbiter.stop().await;
}

#[tokio::test]
async fn what_was_seen_of_the_store_beyond_its_head_is_told_as_not_known() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let granted = arbiter.client.grant(grant("c", &["tiny-forest"])).await.unwrap().into_inner();
    let token: Token = granted.token.parse().unwrap();
    let later = Token { incarnation: token.incarnation + 1, ..token };
    for beyond in [token.at(2), later.at(0)] {
        let session = having_seen(beyond);
        let status = head(&arbiter, &session).await.unwrap_err();
        assert_eq!(metadata_of(&status, "revision"), Some(beyond.revision.to_string()));
        let all = [
            refused(Err::<(), _>(status)),
            refused(session.run(arbiter.client.list_entitlements(list("c"))).await),
            refused(session.run(arbiter.client.grant(grant("c", &["old-sea"]))).await),
            refused(session.run(arbiter.client.import(tokio_stream::empty())).await),
            refused(
                session
                    .run(arbiter.watcher.watch(WatchRequest {
                        start: Some(Start::Snapshot(SnapshotStart::default())),
                        ..WatchRequest::default()
                    }))
                    .await,
            ),
        ];
        assert_eq!(all, [(Code::FailedPrecondition, Some(Reason::RevisionUnknown)); 5], "{beyond:?}");
    }
    assert_eq!(head(&arbiter, &Session::new()).await.unwrap(), token, "nothing was written");
    // What is over or is of another store is not judged here.
    let earlier = Token { incarnation: token.incarnation - 1, ..token };
    let foreign = Token { store_id: uuid::Uuid::from_u128(7), ..token };
    for other in [token, earlier.at(99), foreign.at(99)] {
        assert_eq!(head(&arbiter, &having_seen(other)).await.unwrap(), token, "{other:?}");
    }
    arbiter.stop().await;
}
