//! A call goes to the best instance, and to the next one when that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::StreamBody;
use mesh::environment::Environment;
use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::discovery::StaticList;
use mesh::outbound::dispatch::Condition;
use mesh::outbound::{Dispatch, DispatchConfig, OutboundConfig};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;

use crate::cluster::{Member, ask, dispatch, is_serving, quick, tried, until};
use crate::support::{Echo, FOLLOW, Peer, SAY, Text, soon, text, unary};

/// An instance of 1.0.1 that fails in some way, beside one of 1.0.0 that is well: the call succeeds, and tells why.
async fn falls_back(newer: Member, config: &DispatchConfig, cause: &str) {
    let older = Member::well("1.0.0").await;
    let dispatch = dispatch(&[&newer, &older], "^1.0", config).await;
    let answer = soon(ask(&dispatch)).await;
    assert_eq!(answer.as_ref().unwrap().get_ref().text, "1.0.0");
    assert_eq!(answer.as_ref().unwrap().metadata().get("mesh-version").unwrap(), "1.0.0");
    let expected = format!("{}@1.0.1={cause}, {}@1.0.0=OK", newer.authority(), older.authority());
    assert_eq!(tried(&answer), expected);
}

#[tokio::test]
async fn an_instance_that_is_unavailable_is_passed_over_for_the_next_version() {
    let newer = Member::failing("1.0.1", Status::unavailable("not now")).await;
    falls_back(newer, &quick(), "UNAVAILABLE").await;
}

#[tokio::test]
async fn an_attempt_that_is_not_answered_in_its_time_goes_to_the_next_version() {
    let config = DispatchConfig { attempt_timeout_ms: 50, ..quick() };
    falls_back(Member::hanging("1.0.1").await, &config, "ATTEMPT_TIMEOUT").await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_however_long_an_attempt_may_take() {
    let hanging = Member::hanging("1.0.0").await;
    let outbound = OutboundConfig { timeout_ms: 200, ..quick().outbound };
    let dispatch = dispatch(&[&hanging], "^1.0", &DispatchConfig { outbound, ..quick() }).await;
    let began = Instant::now();
    let status = soon(ask(&dispatch)).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded)));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_call_whose_request_does_not_end_is_ended_by_its_deadline_which_is_told() {
    let member = Member::well("1.0.0").await;
    let outbound = OutboundConfig { timeout_ms: 200, ..quick().outbound };
    let dispatch = dispatch(&[&member], "^1.0", &DispatchConfig { outbound, ..quick() }).await;
    let endless = futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Status>>();
    let request = http::Request::post(SAY).body(Body::new(StreamBody::new(endless))).unwrap();
    let status = soon(dispatch.calls().oneshot(request)).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::DeadlineExceeded));
    assert_eq!(status.get_details_error_info().unwrap().metadata["timeout_ms"], "200");
    assert_eq!(member.asked(), 0);
}

#[tokio::test]
async fn where_the_only_instance_hangs_the_caller_has_its_fallback_with_time_left() {
    let hanging = Member::hanging("1.0.0").await;
    let config = DispatchConfig { attempt_timeout_ms: 50, ..quick() };
    let dispatch = dispatch(&[&hanging], "^1.0", &config).await;
    let began = Instant::now();
    let answer = soon(dispatch.or_else(ask(&dispatch), |_| async { Ok(text("from the cache")) })).await;
    assert_eq!(answer.unwrap().into_inner().text, "from the cache");
    assert!(began.elapsed() < Duration::from_millis(config.outbound.timeout_ms / 2));
}

#[tokio::test]
async fn a_method_that_a_version_does_not_have_is_asked_of_the_next_one() {
    let newer = Member::failing("1.0.1", Status::unimplemented("gone")).await;
    falls_back(newer, &quick(), "UNIMPLEMENTED").await;
}

#[tokio::test]
async fn an_answer_that_is_a_refusal_is_the_calls_answer() {
    let newer = Member::failing("1.0.1", Status::not_found("no such ticket")).await;
    let older = Member::well("1.0.0").await;
    let dispatch = dispatch(&[&newer, &older], "^1.0", &quick()).await;
    let answer = soon(ask(&dispatch)).await;
    assert_eq!(tried(&answer), format!("{}@1.0.1=NOT_FOUND", newer.authority()));
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    assert_eq!(older.asked(), 0);
}

#[tokio::test]
async fn the_same_version_is_tried_before_an_older_one() {
    let failing = Member::failing("1.0.1", Status::unavailable("not now")).await;
    let newer = Member::well("1.0.1").await;
    let older = Member::well("1.0.0").await;
    let dispatch = dispatch(&[&failing, &newer, &older], "^1.0", &quick()).await;
    for _ in 0..20 {
        assert_eq!(soon(ask(&dispatch)).await.unwrap().into_inner().text, "1.0.1");
    }
    assert!(failing.asked() > 0);
    assert_eq!(older.asked(), 0);
}

#[tokio::test]
async fn another_major_version_gets_nothing() {
    let one = Member::well("1.4.0").await;
    let two = Member::well("2.0.0").await;
    let dispatch = dispatch(&[&one, &two], "^1.0", &quick()).await;
    for _ in 0..20 {
        assert_eq!(soon(ask(&dispatch)).await.unwrap().into_inner().text, "1.4.0");
    }
    assert_eq!(two.asked(), 0);
    // Not even when there is nobody else.
    one.peer.shutdown.cancel();
    until(&dispatch, |all| all.iter().filter(|one| is_serving(one)).count() == 1).await;
    let status = soon(ask(&dispatch)).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::NoInstance));
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["incompatible"].as_str(), metadata["instances"].as_str()), ("1", "2"));
    assert!(status.get_details_retry_info().is_some(), "it may be otherwise in a moment");
    assert_eq!(two.asked(), 0);
}

#[tokio::test]
async fn an_instance_that_is_asked_again_is_told_how_often_it_was_asked_before() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let echo = Echo::new(move |request: Request<Text>| {
        let header = |name| {
            let value = request.metadata().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let mut seen = noted.lock().unwrap();
        seen.push((header("grpc-previous-rpc-attempts"), header("mesh-requires")));
        let answer = if seen.len() < 3 { Err(Status::unavailable("not yet")) } else { Ok(text("done")) };
        std::future::ready(answer)
    });
    let peer = Peer::start_as("1.0.0", &InboundConfig::default(), echo).await;
    let list = StaticList::new([peer.address.clone()]);
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &quick(), &Environment::system());
    assert_eq!(soon(ask(&dispatch)).await.unwrap().into_inner().text, "done");
    let expected = [None, Some("1"), Some("2")].map(|n| (n.map(str::to_owned), Some("^1.0".to_owned())));
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A server that pushes back, as gRPC's A6 has it.
fn pushing_back(value: &'static str) -> Status {
    let mut status = Status::unavailable("full");
    status.metadata_mut().insert("grpc-retry-pushback-ms", value.parse().unwrap());
    status
}

#[tokio::test]
async fn a_server_that_says_when_to_come_again_is_asked_then_and_not_before() {
    let member = Member::start("1.0.0", |number| {
        std::future::ready(if number == 1 { Err(pushing_back("300")) } else { Ok(text("done")) })
    })
    .await;
    let dispatch = dispatch(&[&member], "^1.0", &quick()).await;
    let began = tokio::time::Instant::now();
    assert_eq!(soon(ask(&dispatch)).await.unwrap().into_inner().text, "done");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_server_that_says_not_to_come_again_is_obeyed() {
    let full = Member::failing("1.0.1", pushing_back("-1")).await;
    let other = Member::well("1.0.0").await;
    let dispatch = dispatch(&[&full, &other], "^1.0", &quick()).await;
    assert_eq!(soon(ask(&dispatch)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!((full.asked(), other.asked()), (1, 0));
}

#[tokio::test]
async fn a_method_that_must_not_be_repeated_is_sent_once() {
    let newer = Member::failing("1.0.1", Status::unavailable("not now")).await;
    let older = Member::well("1.0.0").await;
    let once = mesh::outbound::dispatch::Policy { attempts: 1, ..quick().policy() };
    let dispatch = dispatch(&[&newer, &older], "^1.0", &quick()).await.with_policy(SAY, once);
    assert_eq!(soon(ask(&dispatch)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!((newer.asked(), older.asked()), (1, 0));
}

#[tokio::test]
async fn when_nobody_answers_the_caller_has_what_it_has_instead() {
    let newer = Member::failing("1.0.1", Status::unavailable("not now")).await;
    let config = DispatchConfig { outbound: OutboundConfig { attempts: 1, ..quick().outbound }, ..quick() };
    let dispatch = dispatch(&[&newer], "^1.0", &config).await;
    let call = ask(&dispatch);
    let copy = |status: Status| async move { Ok(text(format!("a copy, for {}", status.message()))) };
    let answer = soon(dispatch.or_else(call, copy)).await;
    assert_eq!(answer.as_ref().unwrap().get_ref().text, "a copy, for not now");
    assert_eq!(tried(&answer), format!("{}@1.0.1=UNAVAILABLE, fallback", newer.authority()));

    // A refusal is an answer: nothing takes its place.
    let refused = async { Err::<Response<Text>, _>(Status::not_found("no such ticket")) };
    let answer = soon(dispatch.or_else(refused, copy)).await;
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_answer_over_the_limit_or_without_end_is_told_as_every_message_over_a_limit() {
    let endless = || futures_util::stream::repeat_with(|| Ok(text("x".repeat(600))));
    let echo = Echo::new(|_| async { Ok(text("x".repeat(2000))) }).following(endless);
    let peer = Peer::start_as("1.0.0", &InboundConfig::default(), echo).await;
    let outbound = OutboundConfig { max_message_bytes: 1024, ..quick().outbound };
    let config = DispatchConfig { outbound, ..quick() };
    let list = StaticList::new([peer.address.clone()]);
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &config, &Environment::system());
    for path in [SAY, FOLLOW] {
        let status = soon(unary(dispatch.calls(), path, text(""))).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::InvalidArgument, Some(Reason::MessageTooLarge))
        );
        assert_eq!(status.get_details_error_info().unwrap().metadata["limit_bytes"], "1024");
    }
}

#[tokio::test]
async fn whom_a_service_has_tried_is_not_told_to_its_callers() {
    let failing = Member::failing("1.0.0", Status::unavailable("not now")).await;
    let dispatch = dispatch(&[&failing], "^1.0", &quick()).await;
    let next = dispatch.clone();
    let middle = Echo::new(move |_| {
        let next = next.clone();
        // As a service does that hands on what it is told.
        async move { ask(&next).await.map(Response::into_inner) }
    });
    let middle = Peer::start(&InboundConfig::default(), middle).await;
    assert!(tried(&soon(ask(&dispatch)).await).contains(&failing.authority()));
    let response = soon(middle.raw(SAY, &[], b"")).await;
    assert!(response.headers().get("mesh-tried").is_none());
    assert_eq!(crate::support::status_of(response).await.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_instance_is_known_without_traffic_from_its_start_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let list = StaticList::new([address.into()]);
    let config = DispatchConfig { health_backoff_max_ms: 20, ..quick() };
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &config, &Environment::system());
    until(&dispatch, |all| all.iter().any(|one| one.condition == Condition::Unreachable)).await;

    let listener = TcpListener::bind(address).await.unwrap();
    let first = Peer::start_as_on(listener, "1.0.0", &InboundConfig::default(), Echo::plain());
    until(&dispatch, |all| all.iter().any(is_serving)).await;
    first.health.set_serving(false);
    until(&dispatch, |all| all.iter().any(|one| matches!(one.condition, Condition::NotServing(_)))).await;
    first.health.set_serving(true);
    until(&dispatch, |all| all.iter().any(is_serving)).await;

    // Another version takes its place, as in an upgrade.
    first.shutdown.cancel();
    soon(first.served).await.unwrap().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let _second = Peer::start_as_on(listener, "1.1.0", &InboundConfig::default(), Echo::plain());
    let is_new = |condition: &Condition| match condition {
        Condition::Serving(description) => description.version.to_string() == "1.1.0",
        _ => false,
    };
    until(&dispatch, |all| all.iter().any(|one| is_new(&one.condition))).await;
}

#[tokio::test]
async fn what_does_not_say_what_it_is_or_is_something_else_gets_no_calls() {
    let silent = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    silent.health.set_serving(true);
    let list = StaticList::new([silent.address.clone()]);
    let environment = Environment::system();
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &quick(), &environment);
    until(&dispatch, |all| all.iter().any(|one| matches!(one.condition, Condition::Unusable(_)))).await;
    assert_eq!(reason_of(&soon(ask(&dispatch)).await.unwrap_err()), Some(Reason::NoInstance));

    let other = Member::well("1.0.0").await;
    let list = StaticList::new([other.peer.address.clone()]);
    let dispatch = Dispatch::new("tickets", &"^1.0".parse().unwrap(), &list, &quick(), &environment);
    let status = soon(ask(&dispatch)).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::NoInstance));
    assert_eq!(dispatch.instances()[0].condition, Condition::Unusable(Arc::from("it is echo")));
    assert_eq!(other.asked(), 0);
}
