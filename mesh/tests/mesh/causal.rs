//! A caller reads what it has written, through any chain of services.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh::causal::{Scope, Session, Token, record, required};
use mesh::environment::Environment;
use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::discovery::StaticList;
use mesh::outbound::{Calls, Dispatch, OutboundConfig};
use tonic::{Code, Request, Status};

use crate::cluster::quick;
use crate::support::{Echo, Peer, SAY, Text, say, soon, status_of, text};

fn scope() -> Scope {
    Scope::new("store 1").unwrap()
}

/// Keeps a history: `write` goes one further, `read` says how far it must have come to answer, `fail` is refused after a
/// look at it.
async fn store() -> Peer {
    let head = Arc::new(AtomicU64::new(40));
    let echo = Echo::new(move |request: Request<Text>| {
        let head = head.clone();
        async move {
            match request.into_inner().text.as_str() {
                "write" => {
                    record(&scope(), head.fetch_add(1, Ordering::SeqCst) + 1);
                    Ok(text("written"))
                }
                "read" => Ok(text(format!("{:?}", required(&scope())))),
                _ => {
                    record(&scope(), head.load(Ordering::SeqCst));
                    Err(Status::failed_precondition("no"))
                }
            }
        }
    });
    Peer::start_as("1.0.0", &InboundConfig::default(), echo).await
}

/// Hands everything on, and knows nothing of tokens.
async fn middle(next: impl Fn() -> Calls + Send + Sync + 'static) -> Peer {
    let echo = Echo::new(move |request: Request<Text>| {
        let calls = next();
        async move { say(calls, request.into_inner()).await }
    });
    Peer::start_as("1.0.0", &InboundConfig::default(), echo).await
}

fn calls(peer: &Peer) -> Calls {
    peer.outbound(&OutboundConfig::default()).calls()
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_of_the_same_session_through_any_chain() {
    let store = store().await;
    let direct = store.outbound(&OutboundConfig::default());
    // One way by a plain client, one by a dispatch and two hops.
    let list = StaticList::new([store.address.clone()]);
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &quick(), &Environment::system());
    let one = middle(move || direct.calls()).await;
    let inner = middle(move || dispatch.calls()).await;
    let inner_calls = inner.outbound(&OutboundConfig::default());
    let other = middle(move || inner_calls.calls()).await;

    let session = Session::new();
    assert_eq!(soon(session.run(say(calls(&one), text("read")))).await.unwrap().text, "None");
    soon(session.run(say(calls(&one), text("write")))).await.unwrap();
    assert_eq!(session.tokens(), [Token { scope: scope(), position: 41 }]);
    assert_eq!(soon(session.run(say(calls(&other), text("read")))).await.unwrap().text, "Some(41)");
    soon(session.run(say(calls(&other), text("write")))).await.unwrap();
    assert_eq!(soon(session.run(say(calls(&one), text("read")))).await.unwrap().text, "Some(42)");

    // Nobody else has seen anything, whatever way they go.
    assert_eq!(soon(Session::new().run(say(calls(&one), text("read")))).await.unwrap().text, "None");
    assert_eq!(soon(say(calls(&other), text("read"))).await.unwrap().text, "None");
    // And a session goes on in another process by its tokens.
    let resumed = Session::resumed(session.tokens());
    assert_eq!(soon(resumed.run(say(calls(&other), text("read")))).await.unwrap().text, "Some(42)");
}

#[tokio::test]
async fn a_refusal_tells_what_was_seen_as_well() {
    let store = store().await;
    let session = Session::new();
    soon(session.run(say(calls(&store), text("fail")))).await.unwrap_err();
    assert_eq!(session.tokens(), [Token { scope: scope(), position: 40 }]);
}

#[tokio::test]
async fn calls_of_one_request_at_the_same_time_are_all_told() {
    let (one, other) = (store().await, store().await);
    let (one_calls, other_calls) =
        (one.outbound(&OutboundConfig::default()), other.outbound(&OutboundConfig::default()));
    let echo = Echo::new(move |_| {
        let (one, other) = (one_calls.calls(), other_calls.calls());
        async move {
            say(other.clone(), text("write")).await?;
            say(other.clone(), text("write")).await?;
            let (one, other) = tokio::join!(say(one, text("write")), say(other, text("write")));
            one.and(other)
        }
    });
    let both = Peer::start(&InboundConfig::default(), echo).await;
    let session = Session::new();
    soon(session.run(say(calls(&both), text("")))).await.unwrap();
    // 41 of the one store and 43 of the other, which count in the same scope here: the larger one wins.
    assert_eq!(session.tokens(), [Token { scope: scope(), position: 43 }]);
}

#[tokio::test]
async fn tokens_that_cannot_be_read_are_refused_rather_than_not_heeded() {
    let store = store().await;
    let status = status_of(store.raw(SAY, &[("mesh-causal-bin", "%")], b"").await).await;
    assert_eq!(
        (status.code(), reason_of(&status)),
        (Code::InvalidArgument, Some(Reason::CausalTokensMalformed))
    );
}
