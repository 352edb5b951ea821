//! Digests after a start, on both stores.

use std::sync::Arc;

use super::{LiveDigests, recover};
use crate::domain::{Cause, Change, Commit, Effects, Entitlement, Reason, RequestId, Revision, Sums};
use crate::store::testing::{TestStore, on_both_stores};
use crate::store::{Batch, Head};

on_both_stores!(
    an_empty_store_adds_up_to_nothing,
    a_start_folds_the_log_after_the_checkpoint_alone,
    a_log_that_does_not_reach_back_is_made_up_for_by_the_table,
);

/// A commit that grants so many games, and its effects.
fn batch(revision: Revision, games: usize) -> Batch {
    let cause = Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() });
    let one = |game: usize| Entitlement {
        customer_id: format!("c-{revision}").parse().unwrap(),
        game_id: format!("g-{game}").parse().unwrap(),
        valid_from: revision,
        granted_at_ms: 1,
        cause: Arc::clone(&cause),
        ends_at_ms: (game == 1).then_some(7_000),
        from_stock: false,
    };
    let inserted: Vec<_> = (0..games).map(|game| Arc::new(one(game))).collect();
    let granted = |one: &Arc<Entitlement>| Change::Granted {
        key: one.key(),
        ends_at_ms: one.ends_at_ms,
        reservation_id: None,
    };
    let commit = Commit {
        revision,
        request_id: RequestId::new_v7(revision, [1; 10]),
        committed_at_ms: 1,
        cause: Arc::clone(&cause),
        changes: inserted.iter().map(granted).collect(),
        traceparent: String::new(),
    };
    let effects = Effects { inserted, ..Effects::default() };
    Batch { effects, commits: vec![commit], ..Batch::default() }
}

/// Commits as the writer does, and returns the head after it.
async fn write(test: &TestStore, live: &LiveDigests, head: Head, mut batch: Batch) -> Head {
    batch.checkpoint = live.due_checkpoint(&batch.commits, false);
    test.store.commit(&head, &batch).await.unwrap();
    live.follow(&batch.commits, batch.checkpoint.map(|sums| sums.revision));
    Head { revision: batch.commits[0].revision, ..head }
}

async fn an_empty_store_adds_up_to_nothing(test: TestStore) {
    let (_, head) = test.lead().await;
    let recovered = recover(&*test.store, head.revision).await.unwrap();
    assert_eq!((recovered.sums, recovered.checkpoint, recovered.changes), (Sums::default(), 0, 0));
}

async fn a_start_folds_the_log_after_the_checkpoint_alone(mut test: TestStore) {
    let (_, mut head) = test.lead().await;
    let live = LiveDigests::new(recover(&*test.store, 0).await.unwrap(), 3);
    for revision in 1..=5 {
        head = write(&test, &live, head, batch(revision, 2)).await;
    }
    let (sums, checkpoint) = (live.sums(), live.checkpoint_revision());
    assert_eq!((sums.revision, sums.counts.iter().sum::<u64>()), (5, 10));
    test.reopen().await;
    let recovered = recover(&*test.store, head.revision).await.unwrap();
    assert_eq!((recovered.sums, recovered.checkpoint), (sums, checkpoint));
    assert_eq!(checkpoint, 4, "every second commit makes three changes or more");
    assert_eq!(recovered.changes, 2);
}

async fn a_log_that_does_not_reach_back_is_made_up_for_by_the_table(test: TestStore) {
    let (_, head) = test.lead().await;
    let live = LiveDigests::new(recover(&*test.store, 0).await.unwrap(), 1_000);
    // What is before revision 5 is in no log.
    let head = write(&test, &live, head, batch(5, 3)).await;
    let expected = live.sums();
    let recovered = recover(&*test.store, head.revision).await.unwrap();
    assert_eq!(recovered.sums, expected);
    let live = LiveDigests::new(recovered, 1_000);
    assert!(live.due_checkpoint(&[], false).is_some(), "the table is not to be read again at the next start");
}
