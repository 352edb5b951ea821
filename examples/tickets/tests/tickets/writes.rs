//! Writes have one effect, whichever version they reach and however often.

use tickets::proto::tickets::v1::{AddReplyRequest, AddRequest, QueryRequest};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{Shared, new_reply, new_ticket, soon};

#[tokio::test]
async fn a_request_id_has_one_effect_at_all_versions_together() {
    let shared = Shared::new();
    let (older, newer) = (shared.start("1.0.0").await, shared.start("1.0.1").await);
    let request = AddRequest { priority: Some(3), ..new_ticket("it does not start") };
    let first = soon(older.calls().add(request.clone())).await.unwrap().into_inner();
    let again = soon(newer.calls().add(request.clone())).await.unwrap().into_inner();
    assert_eq!((first.replayed, again.replayed), (false, true));
    let ticket_id = first.ticket.unwrap().ticket_id;
    assert_eq!(again.ticket.unwrap().ticket_id, ticket_id);

    let reply = new_reply(ticket_id, "did you plug it in?");
    let first = soon(newer.calls().add_reply(reply.clone())).await.unwrap().into_inner();
    let again = soon(older.calls().add_reply(reply.clone())).await.unwrap().into_inner();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.reply, again.reply);
    let found = soon(older.calls().query(QueryRequest { ticket_id })).await.unwrap().into_inner();
    assert_eq!((found.reply_count, found.replies), (1, vec![first.reply.unwrap()]));

    // Another request must not hide behind the id of an earlier one.
    let other = AddRequest { title: "another".to_owned(), ..request };
    let status = soon(newer.calls().add(other)).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_ID_REUSED");
    let other = AddReplyRequest { text: "another".to_owned(), ..reply };
    let status = soon(older.calls().add_reply(other)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn what_is_wrong_or_not_there_is_named() {
    let shared = Shared::new();
    let one = shared.start("1.0.1").await;
    let status = soon(one.calls().add(AddRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_error_info().unwrap().metadata["fields"], "request_id,title");
    let status = soon(one.calls().query(QueryRequest { ticket_id: 7 })).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no ticket 7"));
    let status = soon(one.calls().add_reply(new_reply(u64::MAX, "hello"))).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "TICKET_UNKNOWN");
}

#[tokio::test]
async fn a_query_shows_the_newest_replies_and_how_many_there_are() {
    let shared = Shared::new();
    let one = shared.start_with("1.0.0", &["--replies-per-query", "2"]).await;
    let ticket_id = one.add("it does not start").await;
    for text in ["one", "two", "three"] {
        one.reply(ticket_id, text).await;
    }
    let found = soon(one.calls().query(QueryRequest { ticket_id })).await.unwrap().into_inner();
    let texts: Vec<_> = found.replies.iter().map(|reply| reply.text.as_str()).collect();
    assert_eq!((found.reply_count, texts), (3, vec!["two", "three"]));
    assert_eq!(one.served().await.queries, 1);
}
