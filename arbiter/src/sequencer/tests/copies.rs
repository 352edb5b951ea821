//! Copies: what they report, and what is told of them.

use gameshelf::digest::{Digest, Digests, partition};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::harness::*;

on_both_stores!(
    a_copy_is_listed_with_how_far_it_is_behind,
    a_copy_that_is_away_is_listed_after_a_restart,
    a_copy_is_forgotten_when_it_was_not_seen_for_long,
    only_the_leader_stores_what_copies_report,
    a_stream_shows_that_a_copy_is_connected,
    bookmarks_carry_the_digests_of_what_is_owned,
    as_many_copies_as_configured_and_no_more,
    every_wrong_field_of_a_report_is_named,
);

async fn report(running: &Running, name: &str, token: &str) -> Result<wire::ReportCopyResponse, Status> {
    let request = wire::ReportCopyRequest {
        name: name.to_owned(),
        version: "1.2".to_owned(),
        token: token.to_owned(),
        digest_state: wire::DigestState::Equal.into(),
        repaired_partitions: 3,
    };
    Ok(running.service.report_copy(Request::new(request)).await?.into_inner())
}

async fn list(running: &Running) -> Vec<wire::Copy> {
    let listed = running.service.list_copies(Request::new(wire::ListCopiesRequest {})).await.unwrap();
    listed.into_inner().copies
}

/// Grants a game and returns the token of the commit.
async fn write(running: &Running, number: u64) -> String {
    let request = wire::GrantRequest {
        request_id: id(number).to_string(),
        customer_id: "c".to_owned(),
        game_ids: vec![format!("g-{number}")],
        cause: Some(wire::Cause { reason: wire::Reason::Gift.into(), ..wire::Cause::default() }),
        ..wire::GrantRequest::default()
    };
    running.service.grant(Request::new(request)).await.unwrap().into_inner().token
}

fn seconds(duration: Option<prost_types::Duration>) -> i64 {
    duration.expect("it is known").seconds
}

async fn a_copy_is_listed_with_how_far_it_is_behind(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let token = write(&running, 1).await;
    let told = report(&running, "list-a", &token).await.unwrap();
    assert_eq!(told.provenance.unwrap().revision, 1);
    assert_eq!(seconds(told.report_again_after), 1);
    running.copies.observe_head(running.hub.head());
    clock.advance(5_000);
    let copy = list(&running).await.remove(0);
    assert_eq!((copy.name.as_str(), copy.version.as_str(), copy.revision), ("list-a", "1.2", 1));
    assert_eq!((copy.digest_state(), copy.repaired_partitions), (wire::DigestState::Equal, 3));
    assert_eq!((copy.revisions_behind, seconds(copy.behind)), (0, 0), "nothing was committed since");
    assert_eq!((seconds(copy.unseen), copy.connected), (5, false));
    write(&running, 2).await;
    clock.advance(2_000);
    let copy = list(&running).await.remove(0);
    assert_eq!((copy.revisions_behind, seconds(copy.behind)), (1, 7), "a bound: it was looked at 7 s ago");
    running.copies.observe_head(running.hub.head());
    write(&running, 3).await;
    let copy = list(&running).await.remove(0);
    assert_eq!((copy.revisions_behind, seconds(copy.behind)), (2, 7));
    running.stop().await.unwrap();
}

async fn a_copy_that_is_away_is_listed_after_a_restart(mut test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let token = write(&running, 1).await;
    report(&running, "list-a", &token).await.unwrap();
    report(&running, "list-b", "").await.unwrap();
    write(&running, 2).await;
    running.copies.write(&*test.store, running.leader_id).await.unwrap();
    report(&running, "list-b", &token).await.unwrap();
    running.copies.write(&*test.store, running.leader_id).await.unwrap();
    running.stop().await.unwrap();
    test.reopen().await;
    clock.advance(9_000);
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let copies = list(&running).await;
    let shown = copies.iter().map(|copy| (copy.name.as_str(), copy.revision, seconds(copy.unseen)));
    assert_eq!(shown.collect::<Vec<_>>(), [("list-a", 1, 9), ("list-b", 1, 9)]);
    // What was committed before the start is in the log alone.
    assert_eq!(copies.iter().map(|copy| seconds(copy.behind)).collect::<Vec<_>>(), [9, 9]);
    assert_eq!((copies[0].version.as_str(), copies[0].repaired_partitions), ("1.2", 3));
    running.stop().await.unwrap();
}

async fn a_copy_is_forgotten_when_it_was_not_seen_for_long(mut test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    report(&running, "list-a", "").await.unwrap();
    running.copies.write(&*test.store, running.leader_id).await.unwrap();
    clock.advance(COPY_LIMITS.forget_after_ms);
    report(&running, "list-b", "").await.unwrap();
    running.copies.write(&*test.store, running.leader_id).await.unwrap();
    assert_eq!(list(&running).await.len(), 2, "it is just not too old");
    clock.advance(1);
    running.copies.write(&*test.store, running.leader_id).await.unwrap();
    assert_eq!(list(&running).await[0].name, "list-b");
    running.stop().await.unwrap();
    test.reopen().await;
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let names: Vec<_> = list(&running).await.into_iter().map(|copy| copy.name).collect();
    assert_eq!(names, ["list-b"], "the store forgot it, too");
    running.stop().await.unwrap();
}

async fn only_the_leader_stores_what_copies_report(test: TestStore) {
    let running = start(&test.store).await;
    report(&running, "list-a", "").await.unwrap();
    running.copies.write(&*test.store, Uuid::now_v7()).await.unwrap();
    assert_eq!(test.store.copies(10).await.unwrap(), []);
    running.stop().await.unwrap();
}

async fn a_stream_shows_that_a_copy_is_connected(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    let connections = [(); 2].map(|()| running.copies.connected("list-a".parse().unwrap()).unwrap());
    clock.advance(COPY_LIMITS.forget_after_ms + 1);
    running.copies.write(&*test.store, running.leader_id).await.unwrap();
    let [first, second] = connections;
    drop(first);
    let copy = list(&running).await.remove(0);
    assert_eq!((copy.connected, seconds(copy.unseen)), (true, 0));
    drop(second);
    clock.advance(2_000);
    let copy = list(&running).await.remove(0);
    assert_eq!((copy.connected, seconds(copy.unseen)), (false, 2));
    running.copies.seen(&"list-a".parse().unwrap()).unwrap();
    assert_eq!(seconds(list(&running).await[0].unseen), 0);
    running.stop().await.unwrap();
}

/// What the rows of a snapshot add up to, computed as a copy does.
fn digests_of(events: &[wire::WatchResponse]) -> Digests {
    let mut digests = Digests::default();
    for event in events {
        if let Some(wire::watch_response::Event::SnapshotChunk(chunk)) = &event.event {
            for row in &chunk.entitlements {
                let digest = Digest::of_row(&row.customer_id, &row.game_id, row.since_revision);
                let place = &mut digests[partition(&row.customer_id)];
                *place = place.plus(digest);
            }
        }
    }
    digests
}

async fn poll(running: &Running, request: wire::PollChangesRequest) -> wire::PollChangesResponse {
    running.service.poll_changes(Request::new(request)).await.unwrap().into_inner()
}

/// Polls from a snapshot up to the first bookmark with digests.
async fn poll_digests(running: &Running, partitions: &[u32]) -> (Digests, wire::RowDigests) {
    let filter = wire::Filter { partitions: partitions.to_vec(), ..wire::Filter::default() };
    let snapshot = wire::poll_changes_request::Start::Snapshot(wire::SnapshotStart::default());
    let mut request = wire::PollChangesRequest {
        start: Some(snapshot),
        filter: Some(filter),
        with_digests: true,
        copy_name: "polls".to_owned(),
        ..wire::PollChangesRequest::default()
    };
    let mut events = Vec::new();
    loop {
        let answer = poll(running, request.clone()).await;
        events.extend(answer.events);
        if let Some(wire::watch_response::Event::Bookmark(bookmark)) =
            events.last().and_then(|one| one.event.clone())
            && let Some(digests) = bookmark.digests
        {
            return (digests_of(&events), digests);
        }
        request.start = Some(wire::poll_changes_request::Start::Cursor(answer.cursor));
    }
}

async fn bookmarks_carry_the_digests_of_what_is_owned(mut test: TestStore) {
    let running = start(&test.store).await;
    for number in 1..=5 {
        write(&running, number).await;
    }
    running.ask(id(6), revoke("c", &["g-2"], Refuse)).await.unwrap();
    let (expected, told) = poll_digests(&running, &[]).await;
    assert_eq!((Digests::from_bytes(&told.digests), told.partitions), (Some(expected.clone()), vec![]));
    assert_ne!(expected, Digests::default());
    let (mine, other) = (u32::from(partition("c")), u32::from(partition("c").wrapping_add(1)));
    let (_, told) = poll_digests(&running, &[mine, other]).await;
    let place = told.partitions.iter().position(|partition| *partition == mine).unwrap();
    assert_eq!(told.digests.len(), 32);
    assert_eq!(told.digests[place * 16..][..16], expected[partition("c")].to_bytes());
    assert!(
        list(&running).await.iter().any(|copy| copy.name == "polls"),
        "a poll shows that a copy is there"
    );
    running.stop().await.unwrap();
    // A new process finds them again.
    test.reopen().await;
    let running = start(&test.store).await;
    let (_, told) = poll_digests(&running, &[]).await;
    assert_eq!(Digests::from_bytes(&told.digests), Some(expected));
    running.stop().await.unwrap();
}

async fn as_many_copies_as_configured_and_no_more(test: TestStore) {
    let clock = TestClock::new();
    let running = start_with(&test.store, Setup::with_clock(&clock)).await;
    for name in ["a", "b", "c", "a"] {
        report(&running, name, "").await.unwrap();
    }
    let refused = report(&running, "d", "").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["limit"].as_str()), ("TOO_MANY_COPIES", "3"));
    assert_eq!(list(&running).await.len(), 3);
    clock.advance(COPY_LIMITS.forget_after_ms + 1);
    report(&running, "d", "").await.expect("the others are gone for long");
    running.stop().await.unwrap();
}

async fn every_wrong_field_of_a_report_is_named(test: TestStore) {
    let running = start(&test.store).await;
    let request = wire::ReportCopyRequest {
        name: "List A".to_owned(),
        version: "v".repeat(65),
        token: "no token".to_owned(),
        digest_state: 9,
        repaired_partitions: 0,
    };
    let refused = running.service.report_copy(Request::new(request)).await.unwrap_err();
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = fields.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["name", "version", "token", "digest_state"]);
    running.stop().await.unwrap();
}
