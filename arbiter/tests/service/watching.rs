//! How changes are followed over the network, and what is refused.

use std::collections::BTreeSet;

use gameshelf::proto::arbiter::v1::{
    EarliestStart, Filter, PollChangesRequest, PollChangesResponse, WatchResponse, poll_changes_request,
};
use tonic::Streaming;

use super::*;

/// Options by which the log is trimmed at once, and nothing stays in memory.
const TRIMMED: [&str; 8] = [
    "--log-retention-bytes",
    "0",
    "--log-trim-interval-ms",
    "10",
    "--watch-buffer-bytes",
    "0",
    // The log after the last checkpoint is kept, whatever its age.
    "--digest-checkpoint-changes",
    "1",
];

fn watch(start: Start) -> WatchRequest {
    WatchRequest { start: Some(start), ..WatchRequest::default() }
}

fn poll(start: poll_changes_request::Start) -> PollChangesRequest {
    PollChangesRequest { start: Some(start), ..PollChangesRequest::default() }
}

/// The same start for a poll.
fn as_poll(start: Start) -> poll_changes_request::Start {
    match start {
        Start::Snapshot(snapshot) => poll_changes_request::Start::Snapshot(snapshot),
        Start::AfterToken(token) => poll_changes_request::Start::AfterToken(token),
        Start::Earliest(earliest) => poll_changes_request::Start::Earliest(earliest),
    }
}

fn wrong_fields(status: &Status) -> Vec<String> {
    assert_eq!((status.code(), reason_of(status)), (Code::InvalidArgument, Some(ErrorReason::InvalidFields)));
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}

/// The next event that is not a bookmark.
async fn next(stream: &mut Streaming<WatchResponse>) -> Result<Event, Status> {
    loop {
        match stream.message().await?.expect("the stream goes on").event.unwrap() {
            Event::Bookmark(_) => {}
            event => return Ok(event),
        }
    }
}

/// The first thing that a watch comes to, be it an error before or within the stream.
async fn first(arbiter: &mut Running, request: WatchRequest) -> Result<Event, Status> {
    let mut stream = arbiter.watcher.watch(request).await?.into_inner();
    next(&mut stream).await
}

#[tokio::test]
async fn polls_put_together_are_what_a_stream_tells() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &["--watch-queue-bytes", "1024"]).await;
    for number in 0..30 {
        let customer = format!("c{}", number % 4);
        arbiter.client.grant(grant(&customer, &[&format!("g{number}")])).await.unwrap();
    }
    let mut request = poll(poll_changes_request::Start::Snapshot(SnapshotStart::default()));
    let mut next_poll = async |arbiter: &mut Running| -> PollChangesResponse {
        let response = arbiter.client.poll_changes(request.clone()).await.unwrap().into_inner();
        request.start = Some(poll_changes_request::Start::Cursor(response.cursor.clone()));
        response
    };
    let first = next_poll(&mut arbiter).await.events;
    let Some(Event::SnapshotChunk(chunk)) = &first[0].event else { panic!("a chunk comes first") };
    assert_eq!((chunk.entitlements.len(), chunk.revision), (30, 30));
    let Some(Event::SnapshotEnd(end)) = &first[1].event else { panic!("then the marker") };
    for number in 30..60 {
        arbiter.client.grant(grant("d", &[&format!("g{number}")])).await.unwrap();
    }
    let mut polled = Vec::new();
    while polled.len() < 30 {
        for response in next_poll(&mut arbiter).await.events {
            let Some(Event::Commits(commits)) = response.event else { continue };
            let token: Token = commits.token.parse().unwrap();
            assert_eq!(token.revision, commits.commits.last().unwrap().revision);
            polled.extend(commits.commits);
        }
    }
    let mut stream =
        arbiter.watcher.watch(watch(Start::AfterToken(end.token.clone()))).await.unwrap().into_inner();
    let mut streamed = Vec::new();
    while streamed.len() < 30 {
        let Event::Commits(commits) = next(&mut stream).await.unwrap() else { panic!("commits come") };
        let token: Token = commits.token.parse().unwrap();
        assert_eq!(token.revision, commits.commits.last().unwrap().revision);
        streamed.extend(commits.commits);
    }
    assert_eq!(polled, streamed);
    arbiter.stop().await;
}

#[tokio::test]
async fn a_snapshot_shows_the_state_as_of_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let token = arbiter.client.grant(grant("c", &["a"])).await.unwrap().into_inner().token;
    arbiter.client.grant(grant("c", &["b"])).await.unwrap();
    let start = Start::Snapshot(SnapshotStart { as_of_token: token });
    let mut stream = arbiter.watcher.watch(watch(start)).await.unwrap().into_inner();
    let Event::SnapshotChunk(chunk) = next(&mut stream).await.unwrap() else { panic!("a chunk comes first") };
    assert_eq!((chunk.entitlements.len(), chunk.revision), (1, 1));
    assert!(matches!(next(&mut stream).await.unwrap(), Event::SnapshotEnd(_)));
    let Event::Commits(commits) = next(&mut stream).await.unwrap() else { panic!("then what came after") };
    assert_eq!(commits.commits[0].revision, 2);
    arbiter.stop().await;
}

#[tokio::test]
async fn a_reader_from_before_the_log_is_told_to_begin_with_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let url = url_in(directory.path());
    let mut arbiter = serving(&url, &TRIMMED).await;
    let token = arbiter.client.grant(grant("c", &["a"])).await.unwrap().into_inner().token;
    for number in 0..5 {
        arbiter.client.grant(grant("c", &[&format!("g{number}")])).await.unwrap();
    }
    let before = Start::AfterToken(token);
    while first(&mut arbiter, watch(before.clone())).await.is_ok() {}
    // The mark is kept: a process that starts later refuses it too, though it keeps more.
    for options in [&TRIMMED[..], &[]] {
        arbiter.stop().await;
        arbiter = serving(&url, options).await;
        let status = first(&mut arbiter, watch(before.clone())).await.unwrap_err();
        let polled = arbiter.client.poll_changes(poll(as_poll(before.clone()))).await.unwrap_err();
        for status in [status, polled] {
            assert_eq!(
                (status.code(), reason_of(&status)),
                (Code::OutOfRange, Some(ErrorReason::RevisionCompacted))
            );
            let oldest = metadata_of(&status, "oldest_resumable_revision").unwrap();
            assert!((2..=6).contains(&oldest.parse::<u64>().unwrap()), "{oldest}");
            assert!(status.message().contains("snapshot"), "it says how to go on: {}", status.message());
        }
        let earliest = arbiter.client.poll_changes(poll(as_poll(Start::Earliest(EarliestStart {})))).await;
        assert!(earliest.is_ok(), "the earliest commit is never refused: {earliest:?}");
    }
    arbiter.stop().await;
}

#[tokio::test]
async fn a_token_from_elsewhere_begins_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let granted = arbiter.client.grant(grant("c", &["a"])).await.unwrap().into_inner();
    let token: Token = granted.token.parse().unwrap();
    for (token, expected) in [
        (Token { store_id: Uuid::from_u128(1), ..token }, ErrorReason::TokenForeign),
        (token.at(2), ErrorReason::RevisionUnknown),
    ] {
        let snapshot = SnapshotStart { as_of_token: token.to_string() };
        for start in [Start::AfterToken(token.to_string()), Start::Snapshot(snapshot)] {
            let watched = arbiter.watcher.watch(watch(start.clone())).await;
            assert_eq!(refused(watched), (Code::FailedPrecondition, Some(expected)));
            let polled = arbiter.client.poll_changes(poll(as_poll(start))).await;
            assert_eq!(refused(polled), (Code::FailedPrecondition, Some(expected)));
        }
    }
    arbiter.stop().await;
}

#[tokio::test]
async fn a_wrong_filter_names_each_wrong_item() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &["--watch-filter-items", "5"]).await;
    let filter = Filter {
        customer_ids: vec!["c".to_owned(), "c".to_owned()],
        game_ids: vec!["Not a slug".to_owned()],
        partitions: vec![256, 3],
    };
    let wrong = ["filter.customer_ids[1]", "filter.game_ids[0]", "filter.partitions[0]", "with_digests"];
    let request = WatchRequest {
        filter: Some(filter.clone()),
        with_digests: true,
        ..watch(Start::Earliest(EarliestStart {}))
    };
    assert_eq!(wrong_fields(&arbiter.watcher.watch(request).await.unwrap_err()), wrong);
    let start = poll_changes_request::Start::Earliest(EarliestStart {});
    let request = PollChangesRequest { filter: Some(filter), with_digests: true, ..poll(start.clone()) };
    assert_eq!(wrong_fields(&arbiter.client.poll_changes(request).await.unwrap_err()), wrong);

    let filter = Filter { partitions: (0..6).collect(), ..Filter::default() };
    let request = WatchRequest { filter: Some(filter), ..watch(Start::Earliest(EarliestStart {})) };
    let status = arbiter.watcher.watch(request).await.unwrap_err();
    assert_eq!(wrong_fields(&status), ["filter"]);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert!(violations[0].description.contains("at most 5"), "{violations:?}");

    let wait = Some(prost_types::Duration { seconds: 31, nanos: 0 });
    let copy_name = "No such name".to_owned();
    let request = PollChangesRequest { wait, copy_name, ..poll(start) };
    let status = arbiter.client.poll_changes(request).await.unwrap_err();
    assert_eq!(wrong_fields(&status), ["wait", "copy_name"]);
    arbiter.stop().await;
}

#[tokio::test]
async fn a_cursor_goes_on_with_its_own_store_and_filter_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let start = poll_changes_request::Start::Snapshot(SnapshotStart::default());
    let cursor = arbiter.client.poll_changes(poll(start)).await.unwrap().into_inner().cursor;
    let goes_on = poll(poll_changes_request::Start::Cursor(cursor));
    arbiter.client.poll_changes(goes_on.clone()).await.unwrap();
    let filter = Some(Filter { partitions: vec![1], ..Filter::default() });
    let other = PollChangesRequest { filter, ..goes_on.clone() };
    assert_eq!(wrong_fields(&arbiter.client.poll_changes(other).await.unwrap_err()), ["cursor"]);
    let nonsense = poll(poll_changes_request::Start::Cursor("nonsense".to_owned()));
    assert_eq!(wrong_fields(&arbiter.client.poll_changes(nonsense).await.unwrap_err()), ["cursor"]);
    arbiter.stop().await;

    let elsewhere = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(elsewhere.path()), &[]).await;
    let polled = arbiter.client.poll_changes(goes_on).await;
    assert_eq!(refused(polled).1, Some(ErrorReason::TokenForeign), "as a token of another store is told");
    arbiter.stop().await;
}

#[tokio::test]
async fn a_watcher_too_many_is_told_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &["--watchers", "1"]).await;
    let request = watch(Start::Earliest(EarliestStart {}));
    let _open = arbiter.watcher.watch(request.clone()).await.unwrap();
    let status = arbiter.watcher.watch(request).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(ErrorReason::TooManyWatchers)));
    assert_eq!(metadata_of(&status, "limit").as_deref(), Some("1"));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_filter_shows_what_concerns_the_reader_and_bookmarks_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut arbiter = serving(&url_in(directory.path()), &[]).await;
    let filter = Some(Filter { customer_ids: vec!["c".to_owned()], ..Filter::default() });
    let request = WatchRequest { filter, ..watch(Start::Earliest(EarliestStart {})) };
    let mut stream = arbiter.watcher.watch(request).await.unwrap().into_inner();
    for customer in ["d", "c", "e"] {
        arbiter.client.grant(grant(customer, &["a"])).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            Event::Commits(commits) => {
                assert!(commits.commits.iter().all(|commit| commit.changes[0].customer_id == "c"));
                seen.extend(commits.commits.iter().map(|commit| commit.revision));
            }
            Event::Bookmark(bookmark) if bookmark.revision == 3 => break,
            event => assert!(matches!(event, Event::Bookmark(_)), "{event:?}"),
        }
    }
    assert!(seen.into_iter().eq([2]));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_cursor_from_beyond_a_restored_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let url = url_in(directory.path());
    let mut arbiter = serving(&url, &[]).await;
    arbiter.client.grant(grant("c", &["a"])).await.unwrap();
    arbiter.stop().await;
    let store = directory.path().join("store.sqlite");
    let backup = std::fs::read(&store).unwrap();

    let mut arbiter = serving(&url, &[]).await;
    let token = arbiter.client.grant(grant("c", &["b"])).await.unwrap().into_inner().token;
    let start = poll_changes_request::Start::AfterToken(token);
    let cursor = arbiter.client.poll_changes(poll(start)).await.unwrap().into_inner().cursor;
    arbiter.stop().await;
    std::fs::write(&store, backup).unwrap();

    let mut arbiter = serving(&url, &[]).await;
    let polled = arbiter.client.poll_changes(poll(poll_changes_request::Start::Cursor(cursor))).await;
    assert_eq!(refused(polled), (Code::FailedPrecondition, Some(ErrorReason::RevisionUnknown)));
    arbiter.stop().await;
}

#[tokio::test]
async fn a_reader_that_hangs_is_cut_off_and_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let options = ["--watchers", "1", "--slow-reader-timeout-ms", "100"];
    let mut arbiter = serving(&url_in(directory.path()), &options).await;
    let request = watch(Start::Earliest(EarliestStart {}));
    let mut hangs = arbiter.watcher.watch(request.clone()).await.unwrap().into_inner();
    let games: Vec<String> = (0..1_000).map(|number| format!("a-game-of-a-long-name-{number}")).collect();
    let games: Vec<&str> = games.iter().map(String::as_str).collect();
    // Written while the reader takes nothing, until its place is another one's.
    let mut written = 0;
    let mut other = loop {
        arbiter.client.grant(grant(&format!("c{written}"), &games)).await.unwrap();
        written += 1;
        if let Ok(other) = arbiter.watcher.watch(request.clone()).await {
            break other.into_inner();
        }
    };
    assert!(next(&mut other).await.is_ok());
    let status = loop {
        if let Err(status) = next(&mut hangs).await {
            break status;
        }
    };
    assert_eq!((status.code(), reason_of(&status)), (Code::ResourceExhausted, Some(ErrorReason::SlowReader)));
    arbiter.stop().await;
}
