//! Why somebody owns a game, or no longer does: reason, actor and order of each change, as they were given.

use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use gameshelf::proto::arbiter::v1::poll_changes_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::tokens::Token;
use tonic::Request;

use super::harness::*;

on_both_stores!(begin_and_end_keep_their_own_cause, every_reason_keeps_its_name);

const GIVEN: [wire::Reason; 7] = [
    wire::Reason::Purchase,
    wire::Reason::Gift,
    wire::Reason::Refund,
    wire::Reason::Chargeback,
    wire::Reason::Promotion,
    wire::Reason::Migration,
    wire::Reason::Administration,
];

/// A cause that no other number has in common with it.
fn cause_of(reason: wire::Reason, number: usize) -> wire::Cause {
    wire::Cause {
        reason: reason.into(),
        actor: format!("actor-{number}"),
        order_id: format!("order-{number}"),
    }
}

fn grant_because(cause: &wire::Cause, number: u64, game_id: &str) -> Request<wire::GrantRequest> {
    Request::new(wire::GrantRequest {
        request_id: id(number).to_string(),
        customer_id: "c".to_owned(),
        game_ids: vec![game_id.to_owned()],
        cause: Some(cause.clone()),
        ..Default::default()
    })
}

fn revoke_because(cause: &wire::Cause, number: u64, game_id: &str) -> Request<wire::RevokeRequest> {
    Request::new(wire::RevokeRequest {
        request_id: id(number).to_string(),
        customer_id: "c".to_owned(),
        game_ids: vec![game_id.to_owned()],
        cause: Some(cause.clone()),
        ..Default::default()
    })
}

/// Why a game began to be owned, and why it ended, where it did.
type Causes = (wire::Cause, Option<wire::Cause>);

fn causes(ownership: wire::Ownership) -> Causes {
    let cause = |event: wire::OwnershipEvent| event.cause.expect("each event has its cause");
    (cause(ownership.began.expect("it began")), ownership.ended.map(cause))
}

/// What the history and the explanation of a game say, which is the same.
async fn told(running: &Running, game_id: &str) -> Causes {
    let (customer_id, game_id) = ("c".to_owned(), game_id.to_owned());
    let request = wire::ListHistoryRequest {
        customer_id: customer_id.clone(),
        game_id: game_id.clone(),
        ..Default::default()
    };
    let history = running.service.list_history(Request::new(request)).await.unwrap().into_inner();
    let [listed] = <[wire::Ownership; 1]>::try_from(history.ownerships).expect("one ownership");
    let request = wire::ExplainOwnershipRequest { customer_id, game_id, freshness: None, as_of_revision: 0 };
    let explained = running.service.explain_ownership(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(explained.ownership.as_ref(), Some(&listed));
    causes(listed)
}

/// The causes of all commits.
async fn logged(running: &Running) -> Vec<wire::Cause> {
    let head = running.service.get_head(Request::new(wire::GetHeadRequest {})).await.unwrap().into_inner();
    let newest: Token = head.provenance.unwrap().token.parse().unwrap();
    let start = Some(Start::AfterToken(newest.at(0).to_string()));
    let request = wire::PollChangesRequest { start, ..Default::default() };
    let polled = running.service.poll_changes(Request::new(request)).await.unwrap().into_inner();
    let commits = polled.events.into_iter().flat_map(|event| match event.event {
        Some(Event::Commits(commits)) => commits.commits,
        _ => Vec::new(),
    });
    commits.map(|commit| commit.cause.expect("each commit has its cause")).collect()
}

async fn begin_and_end_keep_their_own_cause(mut test: TestStore) {
    let (began, ended) = (cause_of(wire::Reason::Purchase, 1), cause_of(wire::Reason::Chargeback, 2));
    let running = start(&test.store).await;
    running.service.grant(grant_because(&began, 1, "g")).await.unwrap();
    assert_eq!(told(&running, "g").await, (began.clone(), None));
    running.service.revoke(revoke_because(&ended, 2, "g")).await.unwrap();
    assert_eq!(told(&running, "g").await, (began.clone(), Some(ended.clone())));
    assert_eq!(logged(&running).await, [began.clone(), ended.clone()]);
    running.stop().await.unwrap();
    test.reopen().await;
    let running = start(&test.store).await;
    assert_eq!(told(&running, "g").await, (began.clone(), Some(ended.clone())), "after a restart too");
    assert_eq!(logged(&running).await, [began, ended]);
    running.stop().await.unwrap();
}

async fn every_reason_keeps_its_name(mut test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let mut expected: Vec<Causes> = Vec::new();
    for (number, reason) in GIVEN.into_iter().enumerate() {
        // Each begins one game and ends another.
        let other = GIVEN[(number + 1) % GIVEN.len()];
        let (began, ended) = (cause_of(reason, number), cause_of(other, 100 + number));
        let (game, place) = (format!("g{number}"), 2 * number as u64);
        running.service.grant(grant_because(&began, place, &game)).await.unwrap();
        running.service.revoke(revoke_because(&ended, place + 1, &game)).await.unwrap();
        expected.push((began, Some(ended)));
    }
    running.ask(id(100), grant_until("c", "h", clock.now_ms() + 1_000)).await.unwrap();
    clock.advance(1_000);
    let expiry = running.hub.head() + 1;
    until(|| running.hub.head() == expiry).await;
    running.stop().await.unwrap();
    for has_restarted in [false, true] {
        if has_restarted {
            test.reopen().await;
        }
        let running = start_with(&test.store, Setup::with_clock(&clock)).await;
        for (number, expected) in expected.iter().enumerate() {
            assert_eq!(&told(&running, &format!("g{number}")).await, expected);
        }
        let (began, ended) = told(&running, "h").await;
        assert_eq!((began.reason(), ended.unwrap().reason()), (wire::Reason::Gift, wire::Reason::Expiry));
        running.stop().await.unwrap();
    }
}
