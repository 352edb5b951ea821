//! What is kept in memory.

use super::*;
use crate::domain::{Cause, Reason, RequestId};

fn commits(revisions: std::ops::RangeInclusive<Revision>) -> Vec<Commit> {
    let cause = Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() });
    let commit = |revision| Commit {
        revision,
        request_id: RequestId::new_v7(revision, [0; 10]),
        committed_at_ms: 0,
        cause: cause.clone(),
        changes: Vec::new(),
        traceparent: String::new(),
    };
    revisions.map(commit).collect()
}

fn revisions(parts: Option<Vec<Part>>) -> Option<Vec<Revision>> {
    Some(parts?.iter().flat_map(Part::commits).map(|commit| commit.revision).collect())
}

#[test]
fn what_is_in_memory_is_given_from_any_place() {
    let hub = Hub::new(4, usize::MAX);
    hub.publish(commits(5..=8));
    assert_eq!(hub.head(), 8);
    assert_eq!(revisions(hub.after(4, usize::MAX)), Some(vec![5, 6, 7, 8]));
    assert_eq!(revisions(hub.after(6, usize::MAX)), Some(vec![7, 8]));
    assert_eq!(revisions(hub.after(8, usize::MAX)), Some(vec![]));
    assert_eq!(revisions(hub.after(3, usize::MAX)), None, "revision 4 is in the log only");
}

#[test]
fn at_least_one_commit_is_given_however_large() {
    let hub = Hub::new(0, usize::MAX);
    hub.publish(commits(1..=3));
    assert_eq!(revisions(hub.after(0, 1)), Some(vec![1]));
    hub.publish(commits(4..=4));
    assert_eq!(revisions(hub.after(2, 1)), Some(vec![3]), "and no more, though they are of two batches");
    assert_eq!(revisions(hub.after(2, usize::MAX)), Some(vec![3, 4]));
}

#[test]
fn memory_is_bounded() {
    let hub = Hub::new(0, 3 * commits(1..=1)[0].bytes());
    for revision in 1..=10 {
        hub.publish(commits(revision..=revision));
    }
    assert_eq!(revisions(hub.after(7, usize::MAX)), Some(vec![8, 9, 10]));
    assert_eq!(revisions(hub.after(6, usize::MAX)), None);
}

#[test]
fn a_leap_forgets_what_is_no_longer_without_gaps() {
    let hub = Hub::new(0, usize::MAX);
    hub.publish(commits(1..=2));
    hub.advance(5);
    assert_eq!((hub.head(), revisions(hub.after(1, usize::MAX))), (5, None));
    hub.publish(commits(6..=6));
    assert_eq!(revisions(hub.after(5, usize::MAX)), Some(vec![6]));
}
