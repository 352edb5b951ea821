//! Subscriptions: every reply, in order, wherever it was taken.

use std::sync::Arc;

use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{Shared, next, soon};

#[tokio::test]
async fn a_subscription_delivers_what_every_version_takes_in_order_without_gap_or_double() {
    let shared = Shared::new();
    let older = Arc::new(shared.start("1.0.0").await);
    let newer = Arc::new(shared.start("1.0.1").await);
    let ticket_id = older.add("it does not start").await;
    older.reply(ticket_id, "before").await;
    let mut at_older = older.subscribe(0).await.unwrap();
    let mut at_newer = newer.subscribe(0).await.unwrap();
    // Both write at once, as fast as they can.
    let writers = [older.clone(), newer.clone()].map(|instance| {
        tokio::spawn(async move {
            for number in 0..100 {
                instance.reply(ticket_id, &format!("reply {number}")).await;
            }
        })
    });
    for expected in 1..=201 {
        let (one, other) = (next(&mut at_older).await, next(&mut at_newer).await);
        assert_eq!(one.position, expected);
        assert_eq!(one, other);
    }
    for writer in writers {
        soon(writer).await.unwrap();
    }
}

#[tokio::test]
async fn a_subscription_is_resumed_at_another_version_after_its_last_position() {
    let shared = Shared::new();
    let (older, newer) =
        (shared.start("1.0.0").await, shared.start_with("1.0.1", &["--page-replies", "2"]).await);
    let ticket_id = older.add("it does not start").await;
    for number in 1..=9 {
        older.reply(ticket_id, &format!("reply {number}")).await;
    }
    let mut stream = older.subscribe(0).await.unwrap();
    for expected in 1..=4 {
        assert_eq!(next(&mut stream).await.position, expected);
    }
    older.shutdown.cancel();
    let mut last = 4;
    let ended = loop {
        match soon(stream.message()).await {
            Ok(Some(message)) => last = message.reply.unwrap().position,
            Ok(None) => panic!("who resumes must hear why"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.get_details_error_info().unwrap().reason, "STOPPING");
    soon(older.running).await.unwrap().unwrap();
    newer.reply(ticket_id, "reply 10").await;
    let mut stream = newer.subscribe(last).await.unwrap();
    for expected in last + 1..=10 {
        let reply = next(&mut stream).await;
        assert_eq!((reply.position, reply.text), (expected, format!("reply {expected}")));
    }
}

#[tokio::test]
async fn a_position_that_is_not_there_yet_and_one_subscription_too_many_are_refused() {
    let shared = Shared::new();
    let one = shared.start_with("1.0.1", &["--max-subscriptions", "1"]).await;
    let status = one.subscribe(1).await.unwrap_err();
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((status.code(), metadata["newest_position"].as_str()), (Code::OutOfRange, "0"));
    let first = one.subscribe(0).await.unwrap();
    let refused = one.subscribe(0).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().metadata["limit"], "1");
    // The place of one that has gone is free again.
    drop(first);
    soon(async { while one.subscribe(0).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_is_cut_off_and_told() {
    let shared = Shared::new();
    let one = shared
        .start_with(
            "1.0.1",
            &["--slow-subscriber-ms", "50", "--text-max-bytes", "65536", "--max-subscriptions", "1"],
        )
        .await;
    let ticket_id = one.add("it does not start").await;
    // More than the windows of the connection hold.
    let text = "x".repeat(60_000);
    for _ in 0..150 {
        one.reply(ticket_id, &text).await;
    }
    let mut stream = one.subscribe(0).await.unwrap();
    // Its place is free once it is cut off, which is while it takes nothing.
    soon(async { while one.subscribe(0).await.is_err() {} }).await;
    let mut last = 0;
    let ended = loop {
        match soon(stream.message()).await {
            Ok(Some(message)) => last = message.reply.unwrap().position,
            Ok(None) => panic!("who is cut off must hear why"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.get_details_error_info().unwrap().reason, "SLOW_SUBSCRIBER");
    assert!(last < 150, "{last}");
}
