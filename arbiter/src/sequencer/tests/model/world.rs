//! What the arbiter is, without disk, batches, caches or clients: maps and a counter. It is written to be obviously right
//! and shares no rule with the program: a command works on a copy of the world, which is thrown away when it is refused,
//! and copies of limited editions are counted where they are, not kept as numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::harness::{
    Answer, Cause, Command, Key, LIMITS, OnNothingToDo, Operation, Outcome, Precondition, Reason,
    RefusalKind, RequestId, StockAmount, SubmitError, Verdict,
};
use crate::domain::{
    Change, Commit, End, Entitlement, GameId, PastEntitlement, Reservation, ReservationStatus, Revision,
    Stock,
};

pub(super) const RETENTION_MS: u64 = 30 * 24 * 3_600_000;
const AHEAD_MAX_MS: u64 = 5 * 60_000;

/// What there is at one revision.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) owned: BTreeMap<Key, Entitlement>,
    pub(super) past: Vec<PastEntitlement>,
    pub(super) reservations: BTreeMap<RequestId, Reservation>,
    totals: BTreeMap<GameId, u64>,
}

/// One step in one world.
struct Moment<'a> {
    revision: Revision,
    now_ms: u64,
    request_id: RequestId,
    cause: &'a Arc<Cause>,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) world: World,
    /// Every commit; those that the arbiter makes by itself have an id of their own, which is not told here.
    pub(super) commits: Vec<Commit>,
    /// What was owned at each revision.
    pub(super) presents: Vec<BTreeMap<Key, Entitlement>>,
    pub(super) outcomes: HashMap<RequestId, (Command, Outcome)>,
}

impl World {
    fn copies(&self, game_id: &GameId) -> (u64, u64) {
        let sold = self.owned.values().filter(|one| one.from_stock && one.game_id == *game_id).count();
        let held = self.reservations.values().filter(|one| one.is_open() && one.from_stock);
        (sold as u64, held.filter(|one| one.game_id == *game_id).count() as u64)
    }

    pub(super) fn stocks(&self) -> Vec<Stock> {
        let stock = |(game_id, total): (&GameId, &u64)| {
            let (sold, reserved) = self.copies(game_id);
            Stock { game_id: game_id.clone(), total: *total, sold, reserved }
        };
        self.totals.iter().map(stock).collect()
    }

    /// Whether a copy is taken of a limited edition, or none is left to take.
    fn take(&self, game_id: &GameId) -> Result<bool, RefusalKind> {
        let Some(total) = self.totals.get(game_id) else { return Ok(false) };
        let (sold, held) = self.copies(game_id);
        if sold + held < *total { Ok(true) } else { Err(RefusalKind::OutOfStock) }
    }

    fn begin(&mut self, key: &Key, ends_at_ms: Option<u64>, from_stock: bool, moment: &Moment<'_>) {
        let entitlement = Entitlement {
            customer_id: key.0.clone(),
            game_id: key.1.clone(),
            valid_from: moment.revision,
            granted_at_ms: moment.now_ms,
            cause: Arc::clone(moment.cause),
            ends_at_ms,
            from_stock,
        };
        self.owned.insert(key.clone(), entitlement);
    }

    fn end(&mut self, key: &Key, moment: &Moment<'_>) -> Option<Entitlement> {
        let ended = self.owned.remove(key)?;
        let cause = Arc::clone(moment.cause);
        let end = End { valid_to: moment.revision, ended_at_ms: moment.now_ms, cause };
        // What began and ended in one commit was owned at no revision.
        if ended.valid_from < moment.revision {
            self.past.push(PastEntitlement { entitlement: Arc::new(ended.clone()), end });
        }
        Some(ended)
    }

    fn close(&mut self, id: RequestId, status: ReservationStatus, moment: &Moment<'_>) {
        if let Some(one) = self.reservations.get_mut(&id) {
            (one.status, one.changed_at, one.changed_at_ms) = (status, moment.revision, moment.now_ms);
        }
    }

    fn open(&self, id: RequestId, now_ms: u64) -> Result<Reservation, RefusalKind> {
        let one = self.reservations.get(&id).ok_or(RefusalKind::ReservationUnknown)?;
        match one.status {
            ReservationStatus::Open if one.expires_at_ms > now_ms => Ok(one.clone()),
            ReservationStatus::Open | ReservationStatus::Expired => Err(RefusalKind::ReservationExpired),
            ReservationStatus::Confirmed | ReservationStatus::Released => Err(RefusalKind::ReservationClosed),
        }
    }

    fn operate(&mut self, operation: &Operation, moment: &Moment<'_>) -> Result<Vec<Change>, RefusalKind> {
        let skipped = |choice, kind| if choice == OnNothingToDo::Skip { Ok(vec![]) } else { Err(kind) };
        match operation {
            Operation::Grant { key, on_owned, .. } if self.owned.contains_key(key) => {
                skipped(*on_owned, RefusalKind::AlreadyOwned)
            }
            Operation::Grant { ends_at_ms: Some(at), .. } if *at <= moment.now_ms => {
                Err(RefusalKind::EndTimePassed)
            }
            Operation::Grant { key, ends_at_ms, .. } => {
                let from_stock = self.take(&key.1)?;
                self.begin(key, *ends_at_ms, from_stock, moment);
                let (key, ends_at_ms) = (key.clone(), *ends_at_ms);
                Ok(vec![Change::Granted { key, ends_at_ms, reservation_id: None }])
            }
            Operation::Revoke { key, on_not_owned } => match self.end(key, moment) {
                Some(ended) => Ok(vec![revoked(&ended)]),
                None => skipped(*on_not_owned, RefusalKind::NotOwned),
            },
            Operation::Transfer { from, to, game_id } => {
                let (from, to) = ((from.clone(), game_id.clone()), (to.clone(), game_id.clone()));
                if self.owned.contains_key(&to) {
                    return Err(RefusalKind::AlreadyOwned);
                }
                let moved = self.end(&from, moment).ok_or(RefusalKind::NotOwned)?;
                self.begin(&to, moved.ends_at_ms, moved.from_stock, moment);
                let granted = Change::Granted { key: to, ends_at_ms: moved.ends_at_ms, reservation_id: None };
                Ok(vec![revoked(&moved), granted])
            }
            Operation::Reserve { key, hold_ms } => self.reserve(key, *hold_ms, moment),
            Operation::Confirm { reservation_id } => {
                let one = self.open(*reservation_id, moment.now_ms)?;
                if self.owned.contains_key(&one.key()) {
                    return Err(RefusalKind::AlreadyOwned);
                }
                self.close(*reservation_id, ReservationStatus::Confirmed, moment);
                self.begin(&one.key(), None, one.from_stock, moment);
                let reservation_id = Some(*reservation_id);
                Ok(vec![Change::Granted { key: one.key(), ends_at_ms: None, reservation_id }])
            }
            Operation::Release { reservation_id } => {
                // Whoever gives up what is overdue but not ended yet is not told that it is late.
                let one = self.open(*reservation_id, 0)?;
                self.close(*reservation_id, ReservationStatus::Released, moment);
                Ok(vec![Change::Released { key: one.key(), reservation_id: *reservation_id }])
            }
            Operation::SetStock { game_id, amount } => self.set_stock(game_id, *amount),
            Operation::End { .. } | Operation::Expire { .. } => unreachable!("nobody asks for these"),
        }
    }

    fn reserve(&mut self, key: &Key, hold_ms: u64, moment: &Moment<'_>) -> Result<Vec<Change>, RefusalKind> {
        let open = || self.reservations.values().filter(|one| one.is_open() && one.customer_id == key.0);
        if self.owned.contains_key(key) {
            return Err(RefusalKind::AlreadyOwned);
        }
        if open().any(|one| one.game_id == key.1) {
            return Err(RefusalKind::AlreadyReserved);
        }
        if open().count() >= LIMITS.rules.reservations_per_customer {
            return Err(RefusalKind::ReservationLimit);
        }
        let (reservation_id, expires_at_ms) = (moment.request_id, moment.now_ms + hold_ms);
        let reservation = Reservation {
            reservation_id,
            customer_id: key.0.clone(),
            game_id: key.1.clone(),
            status: ReservationStatus::Open,
            expires_at_ms,
            from_stock: self.take(&key.1)?,
            changed_at: moment.revision,
            changed_at_ms: moment.now_ms,
        };
        self.reservations.insert(reservation_id, reservation);
        Ok(vec![Change::Reserved { key: key.clone(), reservation_id, expires_at_ms }])
    }

    fn set_stock(&mut self, game_id: &GameId, amount: StockAmount) -> Result<Vec<Change>, RefusalKind> {
        let before = self.totals.get(game_id).copied();
        if before.is_none() && self.totals.len() >= LIMITS.rules.limited_editions {
            return Err(RefusalKind::StockLimit);
        }
        let total = match amount {
            StockAmount::Total(total) => total,
            StockAmount::Add(copies) => before.unwrap_or(0) + copies,
        };
        let (sold, held) = self.copies(game_id);
        if total < sold + held {
            return Err(RefusalKind::StockBelowSold);
        }
        self.totals.insert(game_id.clone(), total);
        let changed = before != Some(total);
        Ok(changed.then(|| Change::StockSet { game_id: game_id.clone(), total }).into_iter().collect())
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self { presents: vec![BTreeMap::new()], ..Self::default() }
    }

    pub(super) fn revision(&self) -> Revision {
        self.commits.len() as Revision
    }

    /// When something of a customer, or of one of its games, changed last, by the log alone.
    pub(super) fn last_change(&self, customer_id: &str, game_id: Option<&GameId>) -> Revision {
        let concerns = |change: &Change| match change {
            Change::Granted { key, .. } | Change::Revoked { key, .. } => {
                key.0.as_str() == customer_id && game_id.is_none_or(|game_id| *game_id == key.1)
            }
            _ => false,
        };
        let last = self.commits.iter().rev().find(|commit| commit.changes.iter().any(concerns));
        last.map_or(0, |commit| commit.revision)
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let ends = self.world.owned.values().filter_map(|one| one.ends_at_ms);
        let open = self.world.reservations.values().filter(|one| one.is_open());
        ends.chain(open.map(|one| one.expires_at_ms)).min()
    }

    fn commit(&mut self, next: World, changes: Vec<Change>, moment: &Moment<'_>) {
        self.commits.push(Commit {
            revision: moment.revision,
            request_id: moment.request_id,
            committed_at_ms: moment.now_ms,
            cause: Arc::clone(moment.cause),
            changes,
            traceparent: String::new(),
        });
        self.presents.push(next.owned.clone());
        self.world = next;
    }

    /// Ends what is due: ownerships first, then reservations, each by a commit of its own, the oldest first.
    pub(super) fn end_what_is_due(&mut self, now_ms: u64) {
        let cause = Cause { reason: Reason::Expiry, actor: "arbiter".to_owned(), order_id: String::new() };
        let cause = Arc::new(cause);
        let due = self.world.owned.values().filter(|one| one.ends_at_ms.is_some_and(|at| at <= now_ms));
        let mut due: Vec<_> = due.map(|one| (one.ends_at_ms, one.key())).collect();
        due.sort();
        let own_id = RequestId::new_v7(now_ms, [0; 10]);
        let moment = |model: &Self| (model.revision() + 1, model.world.clone());
        for (_, key) in due {
            let (revision, mut next) = moment(self);
            let moment = Moment { revision, now_ms, request_id: own_id, cause: &cause };
            let ended = next.end(&key, &moment).expect("what is due is owned");
            self.commit(next, vec![revoked(&ended)], &moment);
        }
        let due = self.world.reservations.values().filter(|one| one.is_open() && one.expires_at_ms <= now_ms);
        let mut due: Vec<_> = due.map(|one| (one.expires_at_ms, one.reservation_id, one.key())).collect();
        due.sort();
        for (_, reservation_id, key) in due {
            let (revision, mut next) = moment(self);
            let moment = Moment { revision, now_ms, request_id: own_id, cause: &cause };
            next.close(reservation_id, ReservationStatus::Expired, &moment);
            self.commit(next, vec![Change::Released { key, reservation_id }], &moment);
        }
    }

    pub(super) fn ask(
        &mut self,
        request_id: RequestId,
        command: &Command,
        now_ms: u64,
    ) -> Result<Answer, SubmitError> {
        let made_at_ms = request_id.unix_ms().unwrap_or(now_ms);
        if made_at_ms + RETENTION_MS < now_ms {
            return Err(SubmitError::RequestIdExpired { retention_ms: RETENTION_MS });
        }
        if made_at_ms > now_ms + AHEAD_MAX_MS {
            return Err(SubmitError::RequestIdAhead { limit_ms: AHEAD_MAX_MS });
        }
        match self.outcomes.get(&request_id) {
            Some((asked, outcome)) if asked == command => {
                Ok(Answer { outcome: outcome.clone(), replayed: true })
            }
            Some(_) => Err(SubmitError::RequestIdReused),
            None => {
                let verdict = self.decide(request_id, command, now_ms);
                let outcome = Outcome { revision: self.revision(), verdict };
                self.outcomes.insert(request_id, (command.clone(), outcome.clone()));
                Ok(Answer { outcome, replayed: false })
            }
        }
    }

    fn decide(&mut self, request_id: RequestId, command: &Command, now_ms: u64) -> Verdict {
        let cause = Arc::clone(&command.cause);
        let moment = Moment { revision: self.revision() + 1, now_ms, request_id, cause: &cause };
        let mut next = self.world.clone();
        let mut refused = Vec::new();
        for (place, precondition) in (0..).zip(&command.preconditions) {
            refused.extend(self.stands_against(precondition).map(|kind| (place, kind)));
        }
        let first = u32::try_from(command.preconditions.len()).unwrap();
        let (mut changed, mut changes) = (Vec::new(), Vec::new());
        for (place, operation) in (first..).zip(&command.operations) {
            match next.operate(operation, &moment) {
                Ok(made) => {
                    changed.push(!made.is_empty());
                    changes.extend(made);
                }
                Err(kind) => refused.push((place, kind)),
            }
        }
        if !refused.is_empty() {
            return Verdict::Refused { items: refused };
        }
        if !changes.is_empty() {
            self.commit(next, changes, &moment);
        }
        let expires_at_ms = self.world.reservations.get(&request_id).map(|one| one.expires_at_ms);
        Verdict::Accepted { changed, expires_at_ms }
    }

    fn stands_against(&self, precondition: &Precondition) -> Option<RefusalKind> {
        let owned = &self.world.owned;
        match precondition {
            Precondition::NotOwned(key) => owned.contains_key(key).then_some(RefusalKind::AlreadyOwned),
            Precondition::Owned(key) => (!owned.contains_key(key)).then_some(RefusalKind::NotOwned),
            Precondition::UnchangedSince { revision, .. } if *revision > self.revision() => {
                Some(RefusalKind::RevisionUnknown)
            }
            Precondition::UnchangedSince { customer_id, game_id, revision } => {
                let last = self.last_change(customer_id.as_str(), game_id.as_ref());
                (last > *revision).then_some(RefusalKind::ChangedSince)
            }
        }
    }
}

fn revoked(ended: &Entitlement) -> Change {
    Change::Revoked { key: ended.key(), valid_from: ended.valid_from, ends_at_ms: ended.ends_at_ms }
}
