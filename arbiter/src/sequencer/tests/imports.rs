//! Imports: a stream of large commits.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt, stream};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::import_response::Outcome as Imported;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::harness::*;

on_both_stores!(
    each_request_is_one_commit_and_answers_keep_their_order,
    a_repeated_import_has_no_second_effect,
    a_refused_request_harms_no_other,
    no_more_is_read_than_may_be_in_flight,
    what_was_read_is_answered_when_the_arbiter_stops,
    a_store_that_is_away_ends_an_import,
    limits_of_imports_are_told,
);

fn row(customer_id: &str, game_id: &str) -> wire::ImportRow {
    wire::ImportRow { customer_id: customer_id.to_owned(), game_id: game_id.to_owned(), end_time: None }
}

fn request(number: u64, rows: Vec<wire::ImportRow>) -> wire::ImportRequest {
    let cause = Some(wire::Cause { reason: wire::Reason::Migration.into(), ..wire::Cause::default() });
    wire::ImportRequest { request_id: id(number).to_string(), rows, cause }
}

/// What became of each request of an import.
async fn import(
    running: &Running,
    requests: impl IntoIterator<Item = wire::ImportRequest, IntoIter: Send + 'static>,
) -> Vec<Result<wire::ImportResponse, Status>> {
    let requests = stream::iter(requests.into_iter().map(Ok));
    running.service.import_of(requests).unwrap().collect().await
}

/// The revision of an import that was done, whether it was a repeat, and the rows that were owned.
fn done(answer: &Result<wire::ImportResponse, Status>) -> (u64, bool, &[u32]) {
    match answer.as_ref().unwrap().outcome.as_ref().unwrap() {
        Imported::Done(done) => (done.revision, done.replayed, &done.already_owned),
        Imported::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

/// The rows that stand against an import, and why.
fn rejected(answer: &Result<wire::ImportResponse, Status>) -> Vec<(u32, &str)> {
    match answer.as_ref().unwrap().outcome.as_ref().unwrap() {
        Imported::Refused(refused) => refused.rows.iter().map(|one| (one.row, one.reason.as_str())).collect(),
        Imported::Done(done) => panic!("done: {done:?}"),
    }
}

async fn each_request_is_one_commit_and_answers_keep_their_order(test: TestStore) {
    let running = start(&test.store).await;
    let end_time = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 5_000_000 });
    let rental = wire::ImportRow { end_time, ..row("d", "b") };
    let requests = (1..=20).map(|number| {
        let customer = format!("c-{number}");
        request(number, vec![row(&customer, "a"), row(&customer, "b"), row("all", &format!("g-{number}"))])
    });
    let mut requests: Vec<_> = requests.collect();
    requests.push(request(21, vec![rental]));
    let answers = import(&running, requests.clone()).await;
    let ids: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().request_id.clone()).collect();
    assert_eq!(ids, requests.iter().map(|one| one.request_id.clone()).collect::<Vec<_>>());
    let log = test.store.log(0, 100).await.unwrap();
    assert_eq!(log.len(), 21);
    for (answer, request) in answers.iter().zip(&requests) {
        let commit = &log[usize::try_from(done(answer).0).unwrap() - 1];
        assert_eq!(
            (commit.request_id.to_string(), commit.changes.len()),
            (request.request_id.clone(), request.rows.len())
        );
    }
    let rental = test.store.check(21, &[key("d", "b")]).await.unwrap();
    assert_eq!(rental[0].ends_at_ms, Some(4_000_000_000_005));
    running.stop().await.unwrap();
}

async fn a_repeated_import_has_no_second_effect(test: TestStore) {
    let running = start(&test.store).await;
    let requests =
        [request(1, vec![row("c", "a"), row("c", "b")]), request(2, vec![row("c", "b"), row("c", "d")])];
    let first = import(&running, requests.clone()).await;
    assert_eq!([done(&first[0]), done(&first[1])], [(1, false, &[][..]), (2, false, &[0][..])]);
    let again = import(&running, requests).await;
    assert_eq!([done(&again[0]), done(&again[1])], [(1, true, &[][..]), (2, true, &[0][..])]);
    // Under another id it is another request, which finds nothing to do.
    let other = import(&running, [request(3, vec![row("c", "a"), row("c", "b")])]).await;
    assert_eq!(done(&other[0]), (2, false, &[0, 1][..]));
    assert_eq!(running.hub.head(), 2);
    running.stop().await.unwrap();
}

async fn a_refused_request_harms_no_other(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(90), set_stock("rare", 1)).await.unwrap();
    let past = Some(prost_types::Timestamp { seconds: 1_000, nanos: 0 });
    let before_1970 = Some(prost_types::Timestamp { seconds: -1, nanos: 0 });
    let requests = [
        request(1, vec![row("c", "a")]),
        // It is answered at once, and told after the one before it all the same.
        request(4, vec![row("c", "f"), row("", "f"), row("c", "Not A Slug"), row("c", "f")]),
        request(2, vec![row("c", "b"), row("c", "rare"), row("d", "rare")]),
        request(3, vec![wire::ImportRow { end_time: past, ..row("c", "d") }, row("c", "e")]),
        request(5, vec![wire::ImportRow { end_time: before_1970, ..row("c", "h") }]),
        request(6, vec![row("c", "i")]),
    ];
    let answers = import(&running, requests).await;
    assert_eq!(answers.len(), 6);
    assert_eq!((done(&answers[0]).0, done(&answers[5]).0), (2, 3));
    assert_eq!(rejected(&answers[2]), [(2, "OUT_OF_STOCK")]);
    assert_eq!(rejected(&answers[3]), [(0, "END_TIME_PASSED")]);
    let invalid = "INVALID_FIELD";
    assert_eq!(rejected(&answers[1]), [(1, invalid), (2, invalid), (3, invalid)]);
    assert_eq!(rejected(&answers[4]), [(0, invalid)]);
    let owned = test.store.list(3, &"c".parse().unwrap(), None, 10).await.unwrap();
    assert_eq!(owned.iter().map(|one| one.game_id.as_str()).collect::<Vec<_>>(), ["a", "i"]);
    running.stop().await.unwrap();
}

/// Requests without an end, and how many of them were taken.
fn endless() -> (Arc<AtomicUsize>, impl Stream<Item = Result<wire::ImportRequest, Status>> + Send + 'static) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let requests = (1_u64..).map(move |number| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(request(number, vec![row("c", &format!("g-{number}"))]))
    });
    (taken, stream::iter(requests))
}

async fn no_more_is_read_than_may_be_in_flight(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let running = start(&shared).await;
    store.hold_commits();
    let (taken, requests) = endless();
    let mut answers = running.service.import_of(requests).unwrap();
    let mut first = answers.next();
    tokio::select! {
        biased;
        answer = &mut first => panic!("nothing is committed yet: {answer:?}"),
        () = store.commit_is_held() => {}
    }
    assert_eq!(taken.load(Ordering::SeqCst), IMPORT_LIMITS.in_flight);
    (0..9).for_each(|_| store.release_commit());
    assert_eq!(done(&first.await.unwrap()).0, 1);
    let in_flight = taken.load(Ordering::SeqCst) - 1;
    assert!(in_flight <= IMPORT_LIMITS.in_flight, "{in_flight}");
    drop(answers);
    running.stop().await.unwrap();
}

async fn what_was_read_is_answered_when_the_arbiter_stops(test: TestStore) {
    let running = start(&test.store).await;
    let (taken, requests) = endless();
    let mut answers = running.service.import_of(requests).unwrap();
    assert_eq!(done(&answers.next().await.unwrap()).0, 1);
    running.stop.cancel();
    let rest: Vec<_> = answers.collect().await;
    let (last, answered) = rest.split_last().unwrap();
    let last = last.as_ref().unwrap_err().get_details_error_info().unwrap();
    assert_eq!(last.reason, "SHUTTING_DOWN");
    assert_eq!(
        answered.len() + 1,
        taken.load(Ordering::SeqCst),
        "nothing that was read is left without an answer"
    );
    running.stop().await.unwrap();
}

async fn a_store_that_is_away_ends_an_import(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let limits = SequencerLimits { settle_timeout_ms: 1, ..LIMITS };
    let running = start_with(&shared, Setup { limits, ..Setup::default() }).await;
    store.set_unreachable(true);
    let answers = import(&running, [request(1, vec![row("c", "a")])]).await;
    assert_eq!(answers[0].as_ref().unwrap_err().code(), Code::Unavailable);
    store.set_unreachable(false);
    let mut answer = import(&running, [request(1, vec![row("c", "a")])]).await.remove(0);
    while answer.is_err() {
        answer = import(&running, [request(1, vec![row("c", "a")])]).await.remove(0);
    }
    assert_eq!(done(&answer).0, 1);
    running.stop().await.unwrap();
}

async fn limits_of_imports_are_told(test: TestStore) {
    let running = start(&test.store).await;
    let rows = (0..=REQUEST_LIMITS.changes_per_request).map(|number| row("c", &format!("g-{number}")));
    let refused = import(&running, [request(1, rows.collect())]).await.remove(0).unwrap_err();
    let field = refused.get_details_bad_request().unwrap().field_violations.remove(0);
    assert_eq!(field.description, "rows must hold at most 1000 rows, and holds 1001");
    let nothing = import(&running, [wire::ImportRequest::default()]).await.remove(0).unwrap_err();
    let fields = nothing.get_details_bad_request().unwrap().field_violations;
    assert_eq!(
        fields.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(),
        ["request_id", "cause", "rows"]
    );
    let open = [(); IMPORT_LIMITS.streams].map(|()| running.service.import_of(stream::pending()).unwrap());
    let refused = running.service.import_of(stream::pending()).err().unwrap();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["limit_imports"].as_str()), ("QUEUE_FULL", "2"));
    drop(open);
    assert!(running.service.import_of(stream::pending()).is_ok(), "the places were given back");
    running.stop().await.unwrap();
}
