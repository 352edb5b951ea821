use super::*;

#[test]
fn a_grant_begins_an_ownership_at_the_next_revision() {
    let stored = Stored::default();
    let mut batch = stored.batch();
    let decision = batch.decide(vec![], vec![grant("c", "g")]);
    let granted = Change::Granted { key: key("c", "g"), ends_at_ms: None, reservation_id: None };
    assert_eq!(decision.changes, [granted]);
    let inserted = &batch.state.into_effects().inserted[0];
    let (from, at) = (inserted.valid_from, inserted.granted_at_ms);
    assert_eq!((from, at, inserted.from_stock), (11, NOW_MS, false));
}

#[test]
fn owned_games_are_refused_or_skipped() {
    let stored = Stored::default().owned("c", "g", None);
    let mut batch = stored.batch();
    assert_eq!(batch.refused(vec![grant("c", "g")]), [(0, RefusalKind::AlreadyOwned)]);
    let skip = Operation::Grant { key: key("c", "g"), on_owned: OnNothingToDo::Skip, ends_at_ms: Some(1) };
    assert_eq!(batch.done(vec![skip.clone()]), [false], "even where its end time is past");
    assert_eq!(batch.done(vec![skip, grant("c", "h")]), [false, true]);
}

#[test]
fn games_that_are_not_owned_are_refused_or_skipped() {
    let stored = Stored::default();
    let mut batch = stored.batch();
    assert_eq!(batch.refused(vec![revoke("c", "g")]), [(0, RefusalKind::NotOwned)]);
    let skip = Operation::Revoke { key: key("c", "g"), on_not_owned: OnNothingToDo::Skip };
    assert_eq!(batch.done(vec![skip]), [false]);
    assert_eq!(batch.head, 10, "what changes nothing takes no revision");
}

#[test]
fn an_end_time_must_be_to_come() {
    let stored = Stored::default();
    let mut batch = stored.batch();
    let until = |ends_at_ms| Operation::Grant {
        key: key("c", "g"),
        on_owned: OnNothingToDo::Refuse,
        ends_at_ms: Some(ends_at_ms),
    };
    assert_eq!(batch.refused(vec![until(NOW_MS)]), [(0, RefusalKind::EndTimePassed)]);
    assert_eq!(batch.done(vec![until(NOW_MS + 1)]), [true]);
}

#[test]
fn a_bundle_whose_third_item_fails_leaves_nothing() {
    let stored = Stored::default().stock("g", 1, 0).owned("c", "i", None).owned("d", "j", Some(NOW_MS + 9));
    let mut batch = stored.batch();
    let bundle = vec![grant("c", "g"), grant("c", "h"), grant("c", "i"), revoke("d", "j")];
    assert_eq!(batch.refused(bundle), [(2, RefusalKind::AlreadyOwned)]);
    assert!(!batch.owns("c", "g") && !batch.owns("c", "h") && batch.owns("d", "j"));
    assert_eq!(batch.copies("g"), (1, 0, 0), "a copy that was taken before is given back");
    assert_eq!(batch.state.into_effects(), Effects::default(), "nothing is to be written");
}

#[test]
fn everything_that_stands_against_a_request_is_named() {
    let stored = Stored::default().owned("c", "g", None);
    let mut batch = stored.batch();
    let preconditions = vec![Precondition::Owned(key("c", "h")), Precondition::Owned(key("c", "g"))];
    let operations = vec![grant("c", "x"), grant("c", "g"), revoke("c", "y")];
    let items = vec![(0, RefusalKind::NotOwned), (3, RefusalKind::AlreadyOwned), (4, RefusalKind::NotOwned)];
    assert_eq!(batch.decide(preconditions, operations).verdict, Verdict::Refused { items });
}

#[test]
fn two_transfers_swap() {
    let stored = Stored::default().owned("c", "g", None).owned("d", "h", None);
    let mut batch = stored.batch();
    assert_eq!(batch.done(vec![transfer("c", "d", "g"), transfer("d", "c", "h")]), [true, true]);
    let owns = [batch.owns("c", "h"), batch.owns("d", "g"), batch.owns("c", "g"), batch.owns("d", "h")];
    assert_eq!(owns, [true, true, false, false]);
    assert_eq!(batch.head, 11, "by one commit");
}

#[test]
fn a_transfer_is_refused_where_the_one_has_nothing_or_the_other_has_it() {
    let stored = Stored::default().owned("c", "g", None).owned("d", "g", None);
    let mut batch = stored.batch();
    assert_eq!(batch.refused(vec![transfer("c", "d", "g")]), [(0, RefusalKind::AlreadyOwned)]);
    assert_eq!(batch.refused(vec![transfer("x", "y", "g")]), [(0, RefusalKind::NotOwned)]);
    assert!(batch.owns("c", "g") && !batch.owns("y", "g"));
}

#[test]
fn a_transfer_keeps_the_end_time_and_the_copy() {
    let stored = Stored::default().stock("g", 1, 1).owned("c", "g", Some(NOW_MS + 7));
    let mut batch = stored.batch();
    batch.done(vec![transfer("c", "d", "g")]);
    let moved = batch.state.get(&key("d", "g")).unwrap();
    assert_eq!((moved.ends_at_ms, moved.from_stock, moved.valid_from), (Some(NOW_MS + 7), true, 11));
    assert_eq!(batch.copies("g"), (1, 1, 0), "no copy is sold by it");
    batch.done(vec![revoke("d", "g")]);
    assert_eq!(batch.copies("g"), (1, 0, 0));
}

#[test]
fn grant_then_revoke_in_one_request_leaves_nothing_owned() {
    let stored = Stored::default().stock("g", 1, 0);
    let mut batch = stored.batch();
    assert_eq!(batch.done(vec![grant("c", "g"), revoke("c", "g")]), [true, true]);
    assert_eq!((batch.owns("c", "g"), batch.copies("g")), (false, (1, 0, 0)));
    assert_eq!(batch.state.unproven(), [key("c", "g")], "that it was not owned before is only assumed");
    let effects = batch.state.into_effects();
    assert_eq!((effects.inserted.len(), effects.removed.len(), effects.past.len()), (0, 0, 1));
}

#[test]
fn an_ownership_that_was_replaced_in_a_batch_keeps_its_past() {
    let stored = Stored::default().owned("c", "g", None);
    let mut batch = stored.batch();
    batch.done(vec![revoke("c", "g")]);
    batch.done(vec![grant("c", "g")]);
    let effects = batch.state.into_effects();
    assert_eq!((effects.inserted.len(), effects.replaced.len(), effects.removed.len()), (0, 1, 0));
    assert_eq!(effects.replaced[0].valid_from, 12);
    assert_eq!((effects.past[0].entitlement.valid_from, effects.past[0].end.valid_to), (1, 11));
}

#[test]
fn only_what_is_due_is_ended() {
    let stored = Stored::default().owned("c", "g", Some(NOW_MS)).owned("c", "h", Some(NOW_MS + 1));
    let mut batch = stored.batch();
    let end = |game_id| Operation::End { key: key("c", game_id) };
    assert_eq!(batch.done(vec![end("g"), end("h"), end("x")]), [true, false, false]);
}

#[test]
fn what_nobody_looked_up_is_assumed_and_named_unless_it_is_inserted() {
    let stored = Stored::default().owned("c", "known", None);
    let unproven = |preconditions: Vec<Precondition>, operations: Vec<Operation>| {
        let mut batch = stored.batch();
        batch.decide(preconditions, operations);
        batch.state.unproven()
    };
    let g = key("c", "g");
    assert_eq!(unproven(vec![], vec![grant("c", "g")]), [], "the unique key proves it");
    assert_eq!(unproven(vec![Precondition::NotOwned(g.clone())], vec![grant("c", "g")]), []);
    assert_eq!(unproven(vec![], vec![transfer("c", "d", "known")]), []);
    assert_eq!(unproven(vec![], vec![grant("c", "known")]), [], "it is known, and no assumption");
    for (preconditions, operations) in [
        (vec![Precondition::NotOwned(g.clone())], vec![grant("c", "h")]),
        (vec![Precondition::Owned(g.clone())], vec![grant("c", "h")]),
        (vec![], vec![revoke("c", "g")]),
        (vec![], vec![grant("c", "g"), grant("c", "known")]),
        (vec![], vec![Operation::End { key: g.clone() }]),
        (vec![], vec![transfer("c", "d", "g"), grant("d", "g")]),
    ] {
        assert!(unproven(preconditions, operations.clone()).contains(&g), "{operations:?}");
    }
}
