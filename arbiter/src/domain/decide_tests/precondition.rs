use super::*;

fn unchanged(customer_id: &str, game_id: Option<&str>, revision: Revision) -> Precondition {
    Precondition::UnchangedSince {
        customer_id: customer_id.parse().unwrap(),
        game_id: game_id.map(|game_id| game_id.parse().unwrap()),
        revision,
    }
}

fn subject(customer_id: &str, game_id: Option<&str>) -> Subject {
    (customer_id.parse().unwrap(), game_id.map(|game_id| game_id.parse().unwrap()))
}

fn refusal(decision: Decision) -> Option<RefusalKind> {
    match decision.verdict {
        Verdict::Accepted { .. } => None,
        Verdict::Refused { items } => Some(items[0].1),
    }
}

#[test]
fn owned_and_not_owned_are_checked_before_the_first_change() {
    let stored = Stored::default().owned("c", "base", None);
    let mut batch = stored.batch();
    let (base, dlc) = (key("c", "base"), key("c", "dlc"));
    let preconditions = vec![Precondition::Owned(base.clone()), Precondition::NotOwned(dlc.clone())];
    assert_eq!(refusal(batch.decide(preconditions, vec![grant("c", "dlc")])), None);
    let not_owned = batch.decide(vec![Precondition::NotOwned(dlc)], vec![revoke("c", "dlc")]);
    assert_eq!(refusal(not_owned), Some(RefusalKind::AlreadyOwned), "though it would not be afterwards");
    batch.done(vec![revoke("c", "base")]);
    let owned = batch.decide(vec![Precondition::Owned(base)], vec![grant("c", "base")]);
    assert_eq!(refusal(owned), Some(RefusalKind::NotOwned));
}

#[test]
fn unchanged_since_sees_the_store_and_earlier_requests_of_the_batch() {
    let stored = Stored::default();
    let mut batch = stored.batch();
    for (game_id, last) in [(None, 7), (Some("g"), 7), (Some("h"), 3)] {
        batch.state.know_last_change(subject("c", game_id), last);
    }
    let ask = |batch: &mut Deciding<'_>, game_id, revision| {
        let nothing = Operation::Revoke { key: key("x", "x"), on_not_owned: OnNothingToDo::Skip };
        refusal(batch.decide(vec![unchanged("c", game_id, revision)], vec![nothing]))
    };
    let changed = Some(RefusalKind::ChangedSince);
    assert_eq!([ask(&mut batch, None, 7), ask(&mut batch, None, 6)], [None, changed]);
    assert_eq!([ask(&mut batch, Some("h"), 3), ask(&mut batch, Some("h"), 2)], [None, changed]);
    assert_eq!(ask(&mut batch, None, 11), Some(RefusalKind::RevisionUnknown));

    batch.done(vec![grant("c", "h")]);
    assert_eq!([ask(&mut batch, None, 10), ask(&mut batch, None, 11)], [changed, None]);
    assert_eq!([ask(&mut batch, Some("h"), 10), ask(&mut batch, Some("g"), 7)], [changed, None]);
    // What is taken back changed nothing.
    batch.refused(vec![grant("c", "g"), revoke("c", "x")]);
    assert_eq!(ask(&mut batch, Some("g"), 7), None);
    batch.done(vec![grant("d", "g")]);
    batch.done(vec![transfer("d", "c", "g")]);
    assert_eq!(ask(&mut batch, Some("g"), 12), changed);
}

#[test]
fn what_nothing_ever_changed_is_unchanged_since_the_beginning() {
    let stored = Stored::default();
    let mut batch = stored.batch();
    batch.state.know_last_change(subject("c", None), 0);
    assert_eq!(refusal(batch.decide(vec![unchanged("c", None, 0)], vec![grant("c", "g")])), None);
}
