//! The rules: what becomes of a command, given what there is.

use std::sync::Arc;

use super::Revision;
use super::command::{
    Cause, Command, CustomerId, GameId, Key, OnNothingToDo, Operation, Precondition, RequestId,
    ReservationId, StockAmount,
};
use super::commit::{Change, RefusalKind, Verdict};
use super::entity::{End, Entitlement, Reservation, ReservationStatus, Stock};
use super::state::State;

/// The limits that the rules know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The most open reservations of one customer.
    pub(crate) reservations_per_customer: usize,
    /// The most limited editions.
    pub(crate) limited_editions: usize,
}

/// The place and time at which a command is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The newest revision; the command gets the next one if it changes anything.
    pub(crate) head: Revision,
    pub(crate) now_ms: u64,
}

/// A verdict, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// Empty when it was refused, or when nothing had to change.
    pub(crate) changes: Vec<Change>,
}

/// Decides a command and, when it is accepted, does it to `state`, which must know what [`super::Needs`] names.
///
/// A reservation that it opens is known by `request_id`.
pub(crate) fn decide(
    request_id: RequestId,
    command: &Command,
    state: &mut State<'_>,
    moment: Moment,
    rules: &Rules,
) -> Decision {
    let mut deciding =
        Deciding { request_id, state, moment, rules, cause: &command.cause, changes: Vec::new() };
    let mut refused = Vec::new();
    for (place, precondition) in (0_u32..).zip(&command.preconditions) {
        if let Err(kind) = deciding.check(precondition) {
            refused.push((place, kind));
        }
    }
    let first = u32::try_from(command.preconditions.len()).unwrap_or(u32::MAX);
    let mut changed = Vec::with_capacity(command.operations.len());
    let mut expires_at_ms = None;
    for (place, operation) in (first..).zip(&command.operations) {
        let changes = deciding.changes.len();
        match deciding.operate(operation) {
            Ok(()) => {
                changed.push(deciding.changes.len() > changes);
                if let Some(Change::Reserved { expires_at_ms: at, .. }) = deciding.changes.last() {
                    expires_at_ms = Some(*at);
                }
            }
            Err(kind) => refused.push((place, kind)),
        }
    }
    let changes = deciding.changes;
    if refused.is_empty() {
        state.keep();
        Decision { verdict: Verdict::Accepted { changed, expires_at_ms }, changes }
    } else {
        state.roll_back();
        Decision { verdict: Verdict::Refused { items: refused }, changes: Vec::new() }
    }
}

/// A command that is being decided.
struct Deciding<'a, 'b> {
    request_id: RequestId,
    state: &'a mut State<'b>,
    moment: Moment,
    rules: &'a Rules,
    cause: &'a Arc<Cause>,
    changes: Vec<Change>,
}

impl Deciding<'_, '_> {
    /// The revision of the command, if it changes anything.
    fn revision(&self) -> Revision {
        self.moment.head + 1
    }

    fn owns(&mut self, key: &Key) -> bool {
        self.state.get(key).is_some()
    }

    fn check(&mut self, precondition: &Precondition) -> Result<(), RefusalKind> {
        match precondition {
            Precondition::NotOwned(key) if self.owns(key) => Err(RefusalKind::AlreadyOwned),
            Precondition::Owned(key) if !self.owns(key) => Err(RefusalKind::NotOwned),
            Precondition::UnchangedSince { revision, .. } if *revision > self.moment.head => {
                Err(RefusalKind::RevisionUnknown)
            }
            Precondition::UnchangedSince { customer_id, game_id, revision } => {
                let last = self.state.last_change(&(customer_id.clone(), game_id.clone()));
                if last > *revision { Err(RefusalKind::ChangedSince) } else { Ok(()) }
            }
            Precondition::NotOwned(_) | Precondition::Owned(_) => Ok(()),
        }
    }

    fn operate(&mut self, operation: &Operation) -> Result<(), RefusalKind> {
        match operation {
            Operation::Grant { key, on_owned, ends_at_ms } => self.grant(key, *on_owned, *ends_at_ms),
            Operation::Revoke { key, on_not_owned } => self.revoke(key, *on_not_owned),
            Operation::Transfer { from, to, game_id } => self.transfer(from, to, game_id),
            Operation::Reserve { key, hold_ms } => self.reserve(key, *hold_ms),
            Operation::Confirm { reservation_id } => self.confirm(*reservation_id),
            Operation::Release { reservation_id } => self.release(*reservation_id),
            Operation::SetStock { game_id, amount } => self.set_stock(game_id, *amount),
            Operation::End { key } => self.end_in_time(key),
            Operation::Expire { reservation_id } => {
                self.expire(*reservation_id);
                Ok(())
            }
        }
    }

    fn grant(
        &mut self,
        key: &Key,
        on_owned: OnNothingToDo,
        ends_at_ms: Option<u64>,
    ) -> Result<(), RefusalKind> {
        if self.owns(key) {
            return match on_owned {
                OnNothingToDo::Refuse => Err(RefusalKind::AlreadyOwned),
                OnNothingToDo::Skip => Ok(()),
            };
        }
        if ends_at_ms.is_some_and(|ends_at_ms| ends_at_ms <= self.moment.now_ms) {
            return Err(RefusalKind::EndTimePassed);
        }
        let from_stock = self.take_copy(&key.1, |stock| stock.sold += 1)?;
        self.begin(key, ends_at_ms, from_stock, None);
        Ok(())
    }

    fn begin(
        &mut self,
        key: &Key,
        ends_at_ms: Option<u64>,
        from_stock: bool,
        reservation_id: Option<ReservationId>,
    ) {
        self.state.begin(Entitlement {
            customer_id: key.0.clone(),
            game_id: key.1.clone(),
            valid_from: self.revision(),
            granted_at_ms: self.moment.now_ms,
            cause: Arc::clone(self.cause),
            ends_at_ms,
            from_stock,
        });
        self.changes.push(Change::Granted { key: key.clone(), ends_at_ms, reservation_id });
    }

    /// Takes a copy of a limited edition, and says whether the game is one.
    fn take_copy(&mut self, game_id: &GameId, take: impl FnOnce(&mut Stock)) -> Result<bool, RefusalKind> {
        let Some(stock) = self.state.stock(game_id) else { return Ok(false) };
        if stock.is_empty() {
            return Err(RefusalKind::OutOfStock);
        }
        let mut stock = stock.clone();
        take(&mut stock);
        self.state.put_stock(stock);
        Ok(true)
    }

    /// Changes the stock of a game that was taken from it.
    fn give_back(&mut self, game_id: &GameId, from_stock: bool, give: impl FnOnce(&mut Stock)) {
        if let Some(stock) = self.state.stock(game_id).filter(|_| from_stock) {
            let mut stock = stock.clone();
            give(&mut stock);
            self.state.put_stock(stock);
        }
    }

    fn end(&mut self, key: &Key) -> Option<Arc<Entitlement>> {
        let end =
            End { valid_to: self.revision(), ended_at_ms: self.moment.now_ms, cause: Arc::clone(self.cause) };
        let ended = self.state.end(key, end)?;
        let (key, valid_from, ends_at_ms) = (key.clone(), ended.valid_from, ended.ends_at_ms);
        self.changes.push(Change::Revoked { key, valid_from, ends_at_ms });
        Some(ended)
    }

    fn revoke(&mut self, key: &Key, on_not_owned: OnNothingToDo) -> Result<(), RefusalKind> {
        match (self.end(key), on_not_owned) {
            (Some(ended), _) => {
                self.give_back(&key.1, ended.from_stock, |stock| stock.sold = stock.sold.saturating_sub(1));
                Ok(())
            }
            (None, OnNothingToDo::Skip) => Ok(()),
            (None, OnNothingToDo::Refuse) => Err(RefusalKind::NotOwned),
        }
    }

    fn transfer(&mut self, from: &CustomerId, to: &CustomerId, game_id: &GameId) -> Result<(), RefusalKind> {
        let to = (to.clone(), game_id.clone());
        if self.owns(&to) {
            return Err(RefusalKind::AlreadyOwned);
        }
        let ended = self.end(&(from.clone(), game_id.clone())).ok_or(RefusalKind::NotOwned)?;
        self.begin(&to, ended.ends_at_ms, ended.from_stock, None);
        Ok(())
    }

    fn reserve(&mut self, key: &Key, hold_ms: u64) -> Result<(), RefusalKind> {
        if self.owns(key) {
            return Err(RefusalKind::AlreadyOwned);
        }
        let open = self.state.open(&key.0);
        if open.iter().any(|(_, game_id)| *game_id == key.1) {
            return Err(RefusalKind::AlreadyReserved);
        }
        if open.len() >= self.rules.reservations_per_customer {
            return Err(RefusalKind::ReservationLimit);
        }
        let from_stock = self.take_copy(&key.1, |stock| stock.reserved += 1)?;
        let expires_at_ms = self.moment.now_ms.saturating_add(hold_ms);
        self.state.put_reservation(Reservation {
            reservation_id: self.request_id,
            customer_id: key.0.clone(),
            game_id: key.1.clone(),
            status: ReservationStatus::Open,
            expires_at_ms,
            from_stock,
            changed_at: self.revision(),
            changed_at_ms: self.moment.now_ms,
        });
        let reservation_id = self.request_id;
        self.changes.push(Change::Reserved { key: key.clone(), reservation_id, expires_at_ms });
        Ok(())
    }

    fn open_reservation(&self, reservation_id: ReservationId) -> Result<Reservation, RefusalKind> {
        let reservation = self.state.reservation(reservation_id).ok_or(RefusalKind::ReservationUnknown)?;
        match reservation.status {
            ReservationStatus::Open => Ok(reservation.clone()),
            ReservationStatus::Expired => Err(RefusalKind::ReservationExpired),
            ReservationStatus::Confirmed | ReservationStatus::Released => Err(RefusalKind::ReservationClosed),
        }
    }

    fn close(&mut self, reservation: Reservation, status: ReservationStatus) {
        let (changed_at, changed_at_ms) = (self.revision(), self.moment.now_ms);
        self.state.put_reservation(Reservation { status, changed_at, changed_at_ms, ..reservation });
    }

    fn confirm(&mut self, reservation_id: ReservationId) -> Result<(), RefusalKind> {
        let reservation = self.open_reservation(reservation_id)?;
        // One that is overdue is expired by a commit of its own, which may be still to come.
        if reservation.expires_at_ms <= self.moment.now_ms {
            return Err(RefusalKind::ReservationExpired);
        }
        let (key, from_stock) = (reservation.key(), reservation.from_stock);
        if self.owns(&key) {
            return Err(RefusalKind::AlreadyOwned);
        }
        self.close(reservation, ReservationStatus::Confirmed);
        self.give_back(&key.1, from_stock, |stock| {
            stock.reserved = stock.reserved.saturating_sub(1);
            stock.sold += 1;
        });
        self.begin(&key, None, from_stock, Some(reservation_id));
        Ok(())
    }

    fn release(&mut self, reservation_id: ReservationId) -> Result<(), RefusalKind> {
        let reservation = self.open_reservation(reservation_id)?;
        self.give_up(reservation, ReservationStatus::Released);
        Ok(())
    }

    fn give_up(&mut self, reservation: Reservation, status: ReservationStatus) {
        let (key, reservation_id) = (reservation.key(), reservation.reservation_id);
        self.give_back(&key.1, reservation.from_stock, |stock| {
            stock.reserved = stock.reserved.saturating_sub(1);
        });
        self.close(reservation, status);
        self.changes.push(Change::Released { key, reservation_id });
    }

    fn set_stock(&mut self, game_id: &GameId, amount: StockAmount) -> Result<(), RefusalKind> {
        let before = self.state.stock(game_id).cloned();
        if before.is_none() && self.state.stocks() >= self.rules.limited_editions {
            return Err(RefusalKind::StockLimit);
        }
        let none = Stock { game_id: game_id.clone(), total: 0, sold: 0, reserved: 0 };
        let stock = before.clone().unwrap_or(none);
        let total = match amount {
            StockAmount::Total(total) => total,
            StockAmount::Add(copies) => stock.total.saturating_add(copies),
        };
        if total < stock.taken() {
            return Err(RefusalKind::StockBelowSold);
        }
        if before.as_ref().is_none_or(|before| before.total != total) {
            self.state.put_stock(Stock { total, ..stock });
            self.changes.push(Change::StockSet { game_id: game_id.clone(), total });
        }
        Ok(())
    }

    /// Ends an ownership whose time ran out. One that is gone, or whose time was changed, is left alone.
    fn end_in_time(&mut self, key: &Key) -> Result<(), RefusalKind> {
        let now_ms = self.moment.now_ms;
        let is_due = |one: &Arc<Entitlement>| one.ends_at_ms.is_some_and(|ends_at_ms| ends_at_ms <= now_ms);
        if self.state.get(key).is_some_and(is_due) {
            return self.revoke(key, OnNothingToDo::Skip);
        }
        Ok(())
    }

    /// Expires a reservation whose time ran out. One that was closed meanwhile is left alone.
    fn expire(&mut self, reservation_id: ReservationId) {
        if let Ok(reservation) = self.open_reservation(reservation_id)
            && reservation.expires_at_ms <= self.moment.now_ms
        {
            self.give_up(reservation, ReservationStatus::Expired);
        }
    }
}
