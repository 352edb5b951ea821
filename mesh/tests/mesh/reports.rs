//! What a process has seen of its calls, as it tells whoever asks for a report.

use std::time::Duration;

use mesh::environment::Environment;
use mesh::inbound::{Concern, InboundConfig};
use mesh::outbound::{DispatchConfig, Outbound, OutboundConfig};
use mesh::proto::v1::mesh_service_client::MeshServiceClient;
use mesh::proto::v1::{Edge, EdgeCalls, EdgeInstanceState, EdgeRequests, ReportRequest, ReportResponse};
use mesh::seen::Carried;
use mesh::version::{Description, Version};
use tonic::{Code, Request, Status};

use crate::cluster::{Member, ask, dispatch_in, quick};
use crate::support::{Echo, Peer, Text, say, soon, text};

/// A service that calls echo as often as it is asked to, and sees what is done in the environment.
async fn front(environment: &Environment, echo: Option<&Peer>) -> Peer {
    let config = OutboundConfig { attempts: 1, ..OutboundConfig::default() };
    let echo = echo.map(|peer| Outbound::new("echo", &peer.address, &config, environment).calls());
    let asked = Echo::new(move |request: Request<Text>| {
        let echo = echo.clone();
        async move {
            let times: u32 = request.get_ref().text.parse().unwrap();
            for _ in 0..times {
                say(echo.clone().unwrap(), text("")).await?;
            }
            Ok(text("done"))
        }
    });
    Peer::start_in(environment, Description::new("front", Version::new(1, 0, 0)), asked).await
}

async fn report(peer: &Peer) -> ReportResponse {
    let outbound = peer.outbound(&OutboundConfig::default());
    let answer = MeshServiceClient::new(outbound.calls()).report(ReportRequest {}).await;
    answer.unwrap().into_inner()
}

/// The one edge that there is, once it is as it should be: a call counts when its answer was read to the end.
async fn edge(peer: &Peer, holds: impl Fn(&Edge) -> bool) -> Edge {
    let edge = async {
        loop {
            let mut edges = report(peer).await.edges;
            let edge = edges.pop().filter(|_| edges.is_empty());
            if let Some(edge) = edge.filter(|edge| holds(edge)) {
                return edge;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let Ok(edge) = tokio::time::timeout(Duration::from_secs(20), edge).await else {
        panic!("{:#?}", report(peer).await.edges);
    };
    edge
}

fn of_version<'a>(edge: &'a Edge, version: &str) -> &'a EdgeCalls {
    edge.calls.iter().find(|calls| calls.version == version).unwrap_or_else(|| panic!("{edge:#?}"))
}

#[tokio::test]
async fn an_edge_is_told_with_its_versions_fallbacks_and_ejected_instances() {
    let environment = Environment::system();
    let front = front(&environment, None).await;
    let newer = Member::failing("1.0.1", Status::unavailable("not now")).await;
    let older = Member::well("1.0.0").await;
    let config = DispatchConfig { breaker_base_ms: 3_600_000, breaker_max_ms: 3_600_000, ..quick() };
    let dispatch = dispatch_in(&environment, &[&newer, &older], "^1.0", &config).await;
    for _ in 0..20 {
        soon(ask(&dispatch)).await.unwrap();
    }
    let edge = edge(&front, |edge| !edge.calls.is_empty() && of_version(edge, "1.0.0").calls == 20).await;
    assert_eq!((edge.service.as_str(), edge.requirement.as_str()), ("echo", "^1.0"));
    let calls = of_version(&edge, "1.0.0");
    assert_eq!((edge.calls.len(), calls.method.as_str()), (1, "test.v1.Echo/Say"));
    // The newer one is asked until it is ejected; each time the older one is asked after it.
    assert_eq!((calls.retries, calls.fallbacks, calls.failures.len()), (5, 5, 0));
    assert_eq!(calls.calls_in_requests, 0, "nothing was being served");
    let timed: u64 = calls.latencies.iter().map(|bucket| bucket.calls).sum();
    assert_eq!(timed, 20);
    assert!(calls.latency_sum_us > 0);
    let mut instances: Vec<_> =
        edge.instances.iter().map(|one| (one.version.as_str(), one.state(), one.address.clone())).collect();
    instances.sort_unstable();
    let expected = [
        ("1.0.0", EdgeInstanceState::Serving, older.authority()),
        ("1.0.1", EdgeInstanceState::Ejected, newer.authority()),
    ];
    assert_eq!(instances, expected);
}

#[tokio::test]
async fn a_call_that_is_repeated_at_the_same_instance_counts_once_and_is_no_fallback() {
    let environment = Environment::system();
    let front = front(&environment, None).await;
    let member = Member::start("1.0.0", |number| async move {
        if number < 3 { Err(Status::unavailable("not yet")) } else { Ok(text("done")) }
    })
    .await;
    let dispatch = dispatch_in(&environment, &[&member], "^1.0", &quick()).await;
    soon(ask(&dispatch)).await.unwrap();
    let edge = edge(&front, |edge| !edge.calls.is_empty() && of_version(edge, "1.0.0").calls > 0).await;
    let calls = of_version(&edge, "1.0.0");
    assert_eq!((calls.calls, calls.retries, calls.fallbacks, calls.failures.len()), (1, 2, 0, 0));
}

#[tokio::test]
async fn calls_are_counted_for_the_requests_that_they_were_made_for() {
    let environment = Environment::system();
    let echo = Peer::start_as("1.4.0", &InboundConfig::default(), Echo::plain()).await;
    let front = front(&environment, Some(&echo)).await;
    let client = front.outbound(&OutboundConfig::default());
    for times in ["3", "0", "1"] {
        soon(say(client.calls(), text(times))).await.unwrap();
    }
    // This call is made for no request.
    let background = Outbound::new("echo", &echo.address, &OutboundConfig::default(), &environment);
    soon(say(background.calls(), text(""))).await.unwrap();
    let edge = edge(&front, |edge| {
        edge.requests.first().is_some_and(|requests| requests.requests == 2)
            && edge.calls.first().is_some_and(|calls| calls.calls == 5)
    })
    .await;
    let expected =
        EdgeRequests { method: "test.v1.Echo/Say".to_owned(), requests: 2, calls: 4, most_calls: 3 };
    assert_eq!(edge.requests, [expected]);
    assert_eq!(of_version(&edge, "1.4.0").calls_in_requests, 4);
    // Neither these reports nor anything else that machines ask is among what was served.
    let served = report(&front).await.served;
    let served: Vec<_> = served.iter().map(|one| (one.method.as_str(), one.requests, one.errors)).collect();
    assert_eq!(served, [("test.v1.Echo/Say", 3, 0)]);
}

#[tokio::test]
async fn calls_of_another_task_count_for_the_request_that_is_carried_to_it() {
    let environment = Environment::system();
    let echo = Peer::start_as("1.4.0", &InboundConfig::default(), Echo::plain()).await;
    let calls = Outbound::new("echo", &echo.address, &OutboundConfig::default(), &environment).calls();
    let spawning = Echo::new(move |_| {
        let work = say(calls.clone(), text(""));
        let carried = Carried::current().run(say(calls.clone(), text("")));
        async move {
            tokio::spawn(work).await.unwrap()?;
            tokio::spawn(carried).await.unwrap()
        }
    });
    let front =
        Peer::start_in(&environment, Description::new("front", Version::new(1, 0, 0)), spawning).await;
    soon(say(front.outbound(&OutboundConfig::default()).calls(), text(""))).await.unwrap();
    let edge = edge(&front, |edge| edge.calls.first().is_some_and(|calls| calls.calls == 2)).await;
    assert_eq!(of_version(&edge, "1.4.0").calls_in_requests, 1, "only what was carried");
}

#[tokio::test]
async fn failures_are_told_by_their_code_and_only_those_of_the_server_are_its_errors() {
    let environment = Environment::system();
    let refusing = Member::start("1.0.0", |number| async move {
        if number % 2 == 0 { Err(Status::not_found("no such text")) } else { Err(Status::internal("broken")) }
    })
    .await;
    let front = front(&environment, Some(&refusing.peer)).await;
    let client = front.outbound(&OutboundConfig::default());
    for _ in 0..5 {
        soon(say(client.calls(), text("1"))).await.unwrap_err();
    }
    let edge = edge(&front, |edge| !edge.calls.is_empty() && of_version(edge, "1.0.0").calls == 5).await;
    let failures: Vec<_> =
        of_version(&edge, "1.0.0").failures.iter().map(|one| (Code::from(one.code), one.calls)).collect();
    assert_eq!(failures, [(Code::NotFound, 2), (Code::Internal, 3)]);
    let served = report(&front).await.served;
    assert_eq!((served[0].requests, served[0].errors), (5, 3));
}

#[tokio::test]
async fn what_a_service_finds_unsafe_is_told_until_it_is_mended() {
    let front = front(&Environment::system(), None).await;
    front.concerns.raise(Concern {
        reason: "STORE_UNSAFE".to_owned(),
        message: "fsync is off".to_owned(),
        advice: "turn it on".to_owned(),
    });
    let concerns = report(&front).await.concerns;
    assert_eq!((concerns.len(), concerns[0].reason.as_str()), (1, "STORE_UNSAFE"));
    assert_eq!((concerns[0].message.as_str(), concerns[0].advice.as_str()), ("fsync is off", "turn it on"));
    front.concerns.clear("STORE_UNSAFE");
    assert_eq!(report(&front).await.concerns, []);
}
