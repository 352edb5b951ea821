//! What a server takes on, and for how long it keeps a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mesh::environment::Environment;
use mesh::errors::{Reason, reason_of};
use mesh::inbound::InboundConfig;
use mesh::outbound::{Outbound, OutboundConfig};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::{Counting, Echo, Peer, SAY, Text, follow, say, soon, status_of, text};

fn once() -> OutboundConfig {
    OutboundConfig { attempts: 1, ..OutboundConfig::default() }
}

/// A service whose handlers wait for the test, and what they wait for.
fn gated() -> (Echo, Arc<Semaphore>, Arc<Semaphore>) {
    let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (told, waited) = (entered.clone(), gate.clone());
    let echo = Echo::new(move |request: Request<Text>| {
        let (told, waited) = (told.clone(), waited.clone());
        async move {
            told.add_permits(1);
            waited.acquire().await.unwrap().forget();
            Ok(request.into_inner())
        }
    });
    (echo, entered, gate)
}

#[tokio::test]
async fn a_request_waits_for_a_place_and_is_served_when_one_is_free() {
    let (echo, entered, gate) = gated();
    let config =
        InboundConfig { max_in_flight: 1, max_queued: 1, max_queue_ms: 60_000, ..InboundConfig::default() };
    let peer = Peer::start(&config, echo).await;
    let outbound = peer.outbound(&once());
    let first = tokio::spawn(say(outbound.calls(), text("first")));
    soon(entered.acquire()).await.unwrap().forget();
    // There is one place to wait in: of two more, one is refused at once.
    let (one, other) = (say(outbound.calls(), text("")), say(outbound.calls(), text("")));
    let (ended, waiting) =
        soon(futures_util::future::select(Box::pin(one), Box::pin(other))).await.factor_first();
    let status = ended.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::Overloaded));
    assert_eq!(status.get_details_error_info().unwrap().metadata["queue_limit"], "1");
    gate.add_permits(2);
    assert_eq!(soon(first).await.unwrap().unwrap().text, "first");
    assert!(soon(waiting).await.is_ok());
}

#[tokio::test]
async fn what_waits_too_long_is_refused_with_the_time_to_come_again() {
    let (echo, entered, gate) = gated();
    let config = InboundConfig { max_in_flight: 1, max_queue_ms: 30, ..InboundConfig::default() };
    let peer = Peer::start(&config, echo).await;
    let first = tokio::spawn(say(peer.outbound(&once()).calls(), text("first")));
    soon(entered.acquire()).await.unwrap().forget();
    let began = Instant::now();
    let refused = soon(peer.raw(SAY, &[], b"")).await;
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "100");
    let status = status_of(refused).await;
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::Overloaded)));
    assert_eq!(status.get_details_error_info().unwrap().metadata["queue_ms"], "30");
    // The place that it waited in is free again, and what is told of a deadline is told by it.
    let status = status_of(soon(peer.raw(SAY, &[("grpc-timeout", "10m")], b"")).await).await;
    assert_eq!(reason_of(&status), Some(Reason::DeadlineExceeded));
    gate.add_permits(1);
    assert!(soon(first).await.unwrap().is_ok());
}

#[tokio::test]
async fn an_overloaded_service_refuses_before_its_latency_grows() {
    let work = Duration::from_millis(20);
    let echo = Echo::new(move |request: Request<Text>| async move {
        tokio::time::sleep(work).await;
        Ok(request.into_inner())
    });
    let config = InboundConfig { max_in_flight: 1, max_queue_ms: 50, ..InboundConfig::default() };
    let peer = Peer::start(&config, echo).await;
    let outbound = peer.outbound(&once());
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let calls = outbound.calls();
            tokio::spawn(async move {
                let began = Instant::now();
                (say(calls, text("")).await.is_ok(), began.elapsed())
            })
        })
        .collect();
    let (mut served, mut longest) = (0, Duration::ZERO);
    for call in calls {
        let (is_ok, took) = soon(call).await.unwrap();
        served += usize::from(is_ok);
        longest = longest.max(took);
    }
    // Served one after the other, the last one would have waited for two seconds.
    assert!((1..=10).contains(&served), "{served}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[tokio::test]
async fn an_old_connection_is_replaced_without_a_call_that_fails() {
    let config = InboundConfig { connection_age_ms: 50, ..InboundConfig::default() };
    let peer = Peer::start(&config, Echo::plain()).await;
    let counting = Arc::new(Counting::default());
    let environment = Environment { connector: counting.clone(), ..Environment::system() };
    let outbound = Outbound::new("echo", &peer.address, &OutboundConfig::default(), &environment);
    soon(async {
        while counting.0.load(Ordering::SeqCst) < 4 {
            assert!(say(outbound.calls(), text("")).await.is_ok());
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_open_on_an_old_connection_may_end_within_the_grace_and_is_cut_off_after_it() {
    let (echo, entered, gate) = gated();
    let echo = echo.following(futures_util::stream::pending);
    let config =
        InboundConfig { connection_age_ms: 50, connection_grace_ms: 500, ..InboundConfig::default() };
    let peer = Peer::start(&config, echo).await;
    let outbound = peer.outbound(&once());
    let began = Instant::now();
    let mut stream = soon(follow(&outbound)).await.unwrap();
    let call = tokio::spawn(say(outbound.calls(), text("late")));
    soon(entered.acquire()).await.unwrap().forget();
    tokio::time::sleep_until(began + Duration::from_millis(200)).await;
    gate.add_permits(1);
    assert_eq!(soon(call).await.unwrap().unwrap().text, "late");
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
}
