//! One failing does not fail the rest, and trouble is not made worse by those who try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh::errors::{Reason, reason_of};
use mesh::outbound::{Dispatch, DispatchConfig};
use tokio::time::Instant;
use tonic::Status;

use crate::cluster::{Member, ask, dispatch, quick};
use crate::support::{soon, text};

/// Ejections that last for longer than any test, so that what is counted holds no probe.
fn without_probes() -> DispatchConfig {
    DispatchConfig { breaker_base_ms: 3_600_000, breaker_max_ms: 3_600_000, ..quick() }
}

fn unavailable() -> Status {
    Status::unavailable("down")
}

async fn until_ejected(dispatch: &Dispatch, member: &Member) {
    let address = &member.peer.address;
    soon(async {
        while !dispatch.instances().iter().any(|one| one.address == *address && one.is_ejected) {
            let _ = ask(dispatch).await;
        }
    })
    .await;
}

/// Makes calls from several tasks at once: how many failed.
async fn many(dispatch: &Dispatch, tasks: usize, calls: usize) -> usize {
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let dispatch = dispatch.clone();
            tokio::spawn(async move {
                let mut failed = 0;
                for _ in 0..calls {
                    failed += usize::from(ask(&dispatch).await.is_err());
                }
                failed
            })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += task.await.unwrap();
    }
    failed
}

#[tokio::test]
async fn an_instance_that_fails_in_a_row_gets_no_more_calls() {
    let failing = Member::failing("1.0.0", unavailable()).await;
    let well = Member::well("1.0.0").await;
    let dispatch = dispatch(&[&failing, &well], "^1.0", &without_probes()).await;
    until_ejected(&dispatch, &failing).await;
    let asked = failing.asked();
    assert_eq!(asked, 5);
    assert_eq!(soon(many(&dispatch, 4, 50)).await, 0);
    assert_eq!(failing.asked(), asked);
}

#[tokio::test]
async fn an_instance_that_is_ejected_is_probed_by_one_call_and_comes_back_when_it_is_well() {
    let is_well = Arc::new(AtomicBool::new(false));
    let switch = is_well.clone();
    let answer = move |_| {
        let well = switch.load(Ordering::SeqCst);
        async move {
            // Long enough for all others to be sent meanwhile, if they were let through.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if well { Ok(text("back")) } else { Err(unavailable()) }
        }
    };
    let member = Member::start("1.0.0", answer).await;
    let config = DispatchConfig { breaker_base_ms: 100, breaker_max_ms: 100, ..quick() };
    let dispatch = dispatch(&[&member], "^1.0", &config).await;
    until_ejected(&dispatch, &member).await;

    let asked = member.asked();
    let began = Instant::now();
    assert_eq!(soon(many(&dispatch, 8, 20)).await, 160);
    let probes = usize::try_from(began.elapsed().as_millis() / 100).unwrap() + 1;
    assert!(member.asked() - asked <= probes, "{} of at most {probes}", member.asked() - asked);

    is_well.store(true, Ordering::SeqCst);
    soon(async {
        while ask(&dispatch).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(soon(many(&dispatch, 4, 5)).await, 0);
}

#[tokio::test]
async fn with_every_instance_down_the_load_falls_to_the_probes() {
    let members = [
        Member::failing("1.0.0", unavailable()).await,
        Member::failing("1.0.0", unavailable()).await,
        Member::failing("1.0.0", unavailable()).await,
    ];
    let config = DispatchConfig { breaker_base_ms: 100, breaker_max_ms: 100, ..quick() };
    let dispatch = dispatch(&members.each_ref(), "^1.0", &config).await;
    let asked = || members.iter().map(Member::asked).sum::<usize>();
    soon(async {
        while !dispatch.instances().iter().all(|one| one.is_ejected) {
            let _ = ask(&dispatch).await;
        }
    })
    .await;
    let (before, began) = (asked(), Instant::now());
    let (tasks, calls) = (16, 25);
    assert_eq!(soon(many(&dispatch, tasks, calls)).await, tasks * calls);
    let probes = 3 * (usize::try_from(began.elapsed().as_millis() / 100).unwrap() + 1);
    assert!(
        asked() - before <= probes,
        "{} calls brought {} of at most {probes}",
        tasks * calls,
        asked() - before
    );
}

#[tokio::test]
async fn calls_that_nobody_can_take_are_refused_at_once_and_told_why() {
    let member = Member::failing("1.0.0", unavailable()).await;
    let dispatch = dispatch(&[&member], "^1.0", &without_probes()).await;
    until_ejected(&dispatch, &member).await;
    let began = Instant::now();
    let status = soon(ask(&dispatch)).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::NoInstance));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn with_every_instance_failing_half_of_its_calls_the_load_grows_by_no_more_than_the_budget() {
    let half = |number: usize| {
        std::future::ready(if number.is_multiple_of(2) { Ok(text("")) } else { Err(unavailable()) })
    };
    let members = [
        Member::start("1.0.0", half).await,
        Member::start("1.0.0", half).await,
        Member::start("1.0.0", half).await,
    ];
    let dispatch = dispatch(&members.each_ref(), "^1.0", &quick()).await;
    let began = Instant::now();
    let (tasks, calls) = (8, 250);
    soon(many(&dispatch, tasks, calls)).await;
    let asked = members.iter().map(Member::asked).sum::<usize>();
    let sent = tasks * calls;
    // A fifth of the calls, ten a second of which those of ten seconds stand ready at once, and the few that were free
    // because the instances were untried.
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let most = sent + sent / 5 + 10 * (10 + seconds) + 3 * tasks;
    assert!(asked <= most, "{sent} calls brought {asked} of at most {most}");
    // But what the budget allows is used.
    assert!(asked >= sent + sent / 5, "{asked}");
}

#[tokio::test]
async fn with_one_of_three_hanging_no_call_fails() {
    let members = [Member::well("1.0.0").await, Member::hanging("1.0.0").await, Member::well("1.0.0").await];
    let config = DispatchConfig { attempt_timeout_ms: 100, latency_decay_ms: 20, ..without_probes() };
    let dispatch = dispatch(&members.each_ref(), "^1.0", &config).await;
    // Known to be well, they are worth a fallback that is free.
    assert_eq!(soon(many(&dispatch, 4, 100)).await, 0);
    until_ejected(&dispatch, &members[1]).await;
    let asked = members[1].asked();
    let began = Instant::now();
    assert_eq!(soon(many(&dispatch, 8, 100)).await, 0);
    // And after the breaker has opened none waits either.
    assert_eq!(members[1].asked(), asked);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_instance_that_has_no_room_and_says_so_is_not_ejected() {
    let mut full = unavailable();
    full.metadata_mut().insert("grpc-retry-pushback-ms", "1".parse().unwrap());
    let member = Member::start("1.0.0", move |number| {
        std::future::ready(if number.is_multiple_of(20) { Ok(text("")) } else { Err(full.clone()) })
    })
    .await;
    let dispatch = dispatch(&[&member], "^1.0", &without_probes()).await;
    soon(many(&dispatch, 1, 10)).await;
    assert!(!dispatch.instances()[0].is_ejected);
    assert!(member.asked() >= 10);
}

#[tokio::test]
async fn a_slow_instance_gets_few_calls() {
    let slow = Member::start("1.0.0", |_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(text(""))
    })
    .await;
    let (one, other) = (Member::well("1.0.0").await, Member::well("1.0.0").await);
    let dispatch = dispatch(&[&slow, &one, &other], "^1.0", &quick()).await;
    assert_eq!(soon(many(&dispatch, 4, 100)).await, 0);
    assert!(slow.asked() < 40, "{}", slow.asked());
    // The others share the rest.
    assert!(one.asked() > 80 && other.asked() > 80, "{} {}", one.asked(), other.asked());
}
