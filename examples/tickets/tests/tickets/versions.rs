//! Versions side by side on one database.

use tickets::proto::tickets::v1::{AddRequest, QueryRequest};

use crate::support::{Instance, Shared, new_ticket, soon};

async fn priority(instance: &Instance, ticket_id: u64) -> Option<u32> {
    let answer = soon(instance.calls().query(QueryRequest { ticket_id })).await.unwrap().into_inner();
    answer.ticket.unwrap().priority
}

/// Each of the two has what the other took, and knows what its version knows.
async fn live_together(older: &Instance, newer: &Instance) {
    let of_older = older.add("taken by the older one").await;
    let request = AddRequest { priority: Some(7), ..new_ticket("taken by the newer one") };
    let of_newer = soon(newer.calls().add(request)).await.unwrap().into_inner().ticket.unwrap().ticket_id;
    assert_eq!((priority(older, of_older).await, priority(older, of_newer).await), (None, None));
    assert_eq!((priority(newer, of_older).await, priority(newer, of_newer).await), (Some(0), Some(7)));
}

#[tokio::test]
async fn both_versions_live_on_one_database_in_either_order_of_start() {
    let shared = Shared::new();
    let older = shared.start("1.0.0").await;
    let newer = shared.start("1.0.1").await;
    live_together(&older, &newer).await;

    let shared = Shared::new();
    let newer = shared.start("1.0.1").await;
    let older = shared.start("1.0.0").await;
    live_together(&older, &newer).await;
}

#[tokio::test]
async fn versions_that_start_at_once_on_a_new_database_all_come_up() {
    for _ in 0..10 {
        let shared = Shared::new();
        let (one, two, three) =
            tokio::join!(shared.start("1.0.1"), shared.start("1.0.0"), shared.start("1.0.1"));
        live_together(&two, &one).await;
        live_together(&two, &three).await;
    }
}

#[tokio::test]
async fn the_next_major_version_means_something_else_by_the_same_number() {
    let shared = Shared::new();
    let (one, two) = (shared.start("1.0.1").await, shared.start("2.0.0").await);
    let request = AddRequest { priority: Some(9), ..new_ticket("the house is on fire") };
    let added = soon(one.calls().add(request)).await.unwrap().into_inner().ticket.unwrap();
    assert_eq!(
        (priority(&one, added.ticket_id).await, priority(&two, added.ticket_id).await),
        (Some(9), Some(0))
    );
}
