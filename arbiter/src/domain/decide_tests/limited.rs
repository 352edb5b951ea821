//! Limited editions and reservations.

use super::*;

fn confirm(number: u64) -> Operation {
    Operation::Confirm { reservation_id: id(number) }
}

fn release(number: u64) -> Operation {
    Operation::Release { reservation_id: id(number) }
}

fn expire(number: u64) -> Operation {
    Operation::Expire { reservation_id: id(number) }
}

#[test]
fn a_grant_takes_a_copy_until_none_is_left_and_a_revocation_gives_it_back() {
    let stored = Stored::default().stock("g", 3, 2);
    let mut batch = stored.batch();
    batch.done(vec![grant("c", "g")]);
    assert_eq!(batch.refused(vec![grant("d", "g")]), [(0, RefusalKind::OutOfStock)]);
    assert_eq!(batch.refused(vec![reserve("d", "g")]), [(0, RefusalKind::OutOfStock)]);
    batch.done(vec![revoke("c", "g")]);
    assert_eq!(batch.copies("g"), (3, 2, 0), "once");
    assert_eq!(batch.done(vec![grant("d", "g")]), [true]);
}

#[test]
fn what_was_granted_before_there_was_a_stock_is_no_copy_of_it() {
    let stored = Stored::default().owned("c", "g", None);
    let mut batch = stored.batch();
    batch.done(vec![set_stock("g", StockAmount::Total(1))]);
    batch.done(vec![grant("d", "g")]);
    batch.done(vec![revoke("c", "g")]);
    assert_eq!(batch.copies("g"), (1, 1, 0), "its end gives nothing back");
}

#[test]
fn a_reservation_holds_a_copy_and_a_confirmation_sells_it() {
    let stored = Stored::default().stock("g", 1, 0);
    let mut batch = stored.batch();
    let reserved = batch.decide(vec![], vec![reserve("c", "g")]);
    let expires_at_ms = NOW_MS + 1_000;
    let accepted = Verdict::Accepted { changed: vec![true], expires_at_ms: Some(expires_at_ms) };
    assert_eq!(reserved.verdict, accepted);
    let change = Change::Reserved { key: key("c", "g"), reservation_id: id(1), expires_at_ms };
    assert_eq!((reserved.changes, batch.copies("g")), (vec![change], (1, 0, 1)));
    let confirmed = batch.decide(vec![], vec![confirm(1)]);
    let granted = Change::Granted { key: key("c", "g"), ends_at_ms: None, reservation_id: Some(id(1)) };
    assert_eq!((confirmed.changes, batch.copies("g")), (vec![granted], (1, 1, 0)));
    assert!(batch.state.get(&key("c", "g")).unwrap().from_stock);
    for again in [confirm(1), release(1)] {
        assert_eq!(batch.refused(vec![again]), [(0, RefusalKind::ReservationClosed)]);
    }
}

#[test]
fn a_release_gives_the_copy_back() {
    let stored = Stored::default().stock("g", 1, 0);
    let mut batch = stored.batch();
    batch.done(vec![reserve("c", "g")]);
    let released = batch.decide(vec![], vec![release(1)]);
    let change = Change::Released { key: key("c", "g"), reservation_id: id(1) };
    assert_eq!((released.changes, batch.copies("g")), (vec![change], (1, 0, 0)));
    assert_eq!(batch.refused(vec![confirm(1)]), [(0, RefusalKind::ReservationClosed)]);
    let effects = batch.state.into_effects();
    assert_eq!(effects.reservations[0].status, ReservationStatus::Released);
    assert_eq!((effects.reservations[0].changed_at, effects.reservations.len()), (12, 1));
}

#[test]
fn an_overdue_reservation_is_not_confirmed_and_expires_once() {
    let stored = Stored::default().stock("g", 1, 0);
    let mut batch = stored.batch();
    batch.done(vec![reserve("c", "g")]);
    batch.now_ms += 999;
    assert_eq!(batch.done(vec![expire(1)]), [false], "its time is not over");
    batch.now_ms += 1;
    assert_eq!(batch.refused(vec![confirm(1)]), [(0, RefusalKind::ReservationExpired)]);
    assert_eq!(batch.copies("g"), (1, 0, 1), "it holds its copy until it is ended");
    assert_eq!(batch.done(vec![expire(1)]), [true]);
    assert_eq!(batch.done(vec![expire(1)]), [false]);
    assert_eq!(batch.copies("g"), (1, 0, 0), "the copy is given back once");
    for late in [confirm(1), release(1)] {
        assert_eq!(batch.refused(vec![late]), [(0, RefusalKind::ReservationExpired)]);
    }
}

#[test]
fn an_unknown_reservation_is_refused() {
    let stored = Stored::default();
    let mut batch = stored.batch();
    for operation in [confirm(9), release(9)] {
        assert_eq!(batch.refused(vec![operation]), [(0, RefusalKind::ReservationUnknown)]);
    }
}

#[test]
fn a_game_is_reserved_once_and_not_when_it_is_owned() {
    let stored = Stored::default().owned("c", "g", None);
    let mut batch = stored.batch();
    batch.state.know_open(&"c".parse().unwrap());
    assert_eq!(batch.refused(vec![reserve("c", "g")]), [(0, RefusalKind::AlreadyOwned)]);
    batch.done(vec![reserve("c", "h")]);
    assert_eq!(batch.refused(vec![reserve("c", "h")]), [(0, RefusalKind::AlreadyReserved)]);
    batch.done(vec![grant("c", "h")]);
    assert_eq!(batch.refused(vec![confirm(2)]), [(0, RefusalKind::AlreadyOwned)]);
}

#[test]
fn a_customer_has_as_many_open_reservations_as_the_limit_and_a_refused_one_does_not_count() {
    let stored = Stored::default().stock("x", 0, 0);
    let mut batch = stored.batch();
    batch.state.know_open(&"c".parse().unwrap());
    batch.done(vec![reserve("c", "g")]);
    assert_eq!(batch.refused(vec![reserve("c", "x")]), [(0, RefusalKind::OutOfStock)]);
    // The reservation is made and then taken back, since something else stands against it.
    assert_eq!(batch.refused(vec![reserve("c", "i"), revoke("c", "y")]), [(1, RefusalKind::NotOwned)]);
    batch.done(vec![reserve("c", "h")]);
    assert_eq!(batch.refused(vec![reserve("c", "i")]), [(0, RefusalKind::ReservationLimit)]);
    batch.done(vec![release(1)]);
    assert_eq!(batch.done(vec![reserve("c", "i")]), [true]);
    let reservations = batch.state.into_effects().reservations;
    assert_eq!(reservations.len(), 3, "what was taken back is not written");
}

#[test]
fn a_stock_is_set_added_to_and_never_below_what_is_taken() {
    let stored = Stored::default().stock("g", 3, 1);
    let mut batch = stored.batch();
    batch.done(vec![reserve("c", "g")]);
    let total = |total| vec![set_stock("g", StockAmount::Total(total))];
    assert_eq!(batch.refused(total(1)), [(0, RefusalKind::StockBelowSold)]);
    assert_eq!((batch.done(total(2)), batch.copies("g")), (vec![true], (2, 1, 1)));
    assert_eq!(batch.done(total(2)), [false], "nothing had to change");
    assert_eq!(batch.done(vec![set_stock("g", StockAmount::Add(5))]), [true]);
    assert_eq!(batch.copies("g"), (7, 1, 1));
}

#[test]
fn there_are_as_many_limited_editions_as_the_limit_and_a_refused_one_does_not_count() {
    let stored = Stored::default().stock("g", 1, 0);
    let mut batch = stored.batch();
    let new = |game_id| set_stock(game_id, StockAmount::Add(1));
    assert_eq!(batch.refused(vec![new("h"), revoke("c", "x")]), [(1, RefusalKind::NotOwned)]);
    assert_eq!(batch.done(vec![new("i")]), [true]);
    assert_eq!(batch.refused(vec![new("j")]), [(0, RefusalKind::StockLimit)]);
    assert_eq!(batch.done(vec![new("g"), new("i")]), [true, true], "those that there are can be changed");
}
