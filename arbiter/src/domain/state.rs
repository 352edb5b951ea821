//! What there is, as far as the commands of one batch need it, and what the batch makes of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Revision;
use super::command::{CustomerId, GameId, Key, ReservationId};
use super::entity::{End, Entitlement, PastEntitlement, Reservation, Stock};
use super::need::Subject;

/// Whether a customer owns a game, before the batch and now.
#[derive(Clone, Debug, Default)]
struct Slot {
    before: Option<Arc<Entitlement>>,
    now: Option<Arc<Entitlement>>,
    /// Nobody looked: that there was nothing before is only assumed.
    assumed: bool,
}

/// What there is, with the changes of the batch on top. A command that turns out to be refused is taken back by
/// [`State::roll_back`].
#[derive(Debug)]
pub(crate) struct State<'a> {
    stocks_before: &'a HashMap<GameId, Stock>,
    slots: HashMap<Key, Slot>,
    reservations: HashMap<ReservationId, Reservation>,
    changed_reservations: Vec<ReservationId>,
    open: HashMap<CustomerId, Vec<(ReservationId, GameId)>>,
    stocks: HashMap<GameId, Stock>,
    last_changes: HashMap<Subject, Revision>,
    past: Vec<PastEntitlement>,
    journal: Vec<Undo>,
}

/// How to take one step back.
#[derive(Debug)]
enum Undo {
    Slot(Key, Option<Arc<Entitlement>>),
    Past,
    Reservation(ReservationId, Option<Reservation>),
    Open(CustomerId, Vec<(ReservationId, GameId)>),
    Stock(GameId, Option<Stock>),
    LastChange(Subject, Revision),
}

/// What a batch makes of what is stored. Each key stands in at most one of `inserted`, `replaced` and `removed`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Entitlements of keys that had none.
    pub(crate) inserted: Vec<Arc<Entitlement>>,
    /// Entitlements that take the place of the one that their key had.
    pub(crate) replaced: Vec<Arc<Entitlement>>,
    /// Keys whose entitlement is gone.
    pub(crate) removed: Vec<Key>,
    /// Entitlements that ended.
    pub(crate) past: Vec<PastEntitlement>,
    /// Reservations that are new or changed.
    pub(crate) reservations: Vec<Reservation>,
    /// Stocks that are new or changed.
    pub(crate) stocks: Vec<Stock>,
}

impl<'a> State<'a> {
    /// The state before a batch. What is not given by the other methods is taken for absent.
    pub(crate) fn new(stocks: &'a HashMap<GameId, Stock>) -> Self {
        Self {
            stocks_before: stocks,
            slots: HashMap::new(),
            reservations: HashMap::new(),
            changed_reservations: Vec::new(),
            open: HashMap::new(),
            stocks: HashMap::new(),
            last_changes: HashMap::new(),
            past: Vec::new(),
            journal: Vec::new(),
        }
    }

    /// Makes known whether a customer owns a game.
    pub(crate) fn know(&mut self, key: Key, entitlement: Option<Arc<Entitlement>>) {
        let slot = Slot { before: entitlement.clone(), now: entitlement, assumed: false };
        self.slots.insert(key, slot);
    }

    /// Makes a reservation known.
    pub(crate) fn know_reservation(&mut self, reservation: Reservation) {
        self.reservations.insert(reservation.reservation_id, reservation);
    }

    /// Makes known which reservations of a customer are open: those that are known by then.
    pub(crate) fn know_open(&mut self, customer_id: &CustomerId) {
        let open = self.reservations.values().filter(|one| one.is_open() && one.customer_id == *customer_id);
        let open = open.map(|one| (one.reservation_id, one.game_id.clone())).collect();
        self.open.insert(customer_id.clone(), open);
    }

    /// Makes known when something changed last; 0 when it never did.
    pub(crate) fn know_last_change(&mut self, subject: Subject, revision: Revision) {
        self.last_changes.insert(subject, revision);
    }

    /// The entitlement of a key, or none when the game is not owned. A key that nobody made known is assumed to have none, and
    /// [`State::unproven`] names it unless the batch proves it.
    pub(super) fn get(&mut self, key: &Key) -> Option<&Arc<Entitlement>> {
        if !self.slots.contains_key(key) {
            self.slots.insert(key.clone(), Slot { assumed: true, ..Slot::default() });
        }
        self.slots.get(key).and_then(|slot| slot.now.as_ref())
    }

    pub(super) fn reservation(&self, reservation_id: ReservationId) -> Option<&Reservation> {
        self.reservations.get(&reservation_id)
    }

    /// The open reservations of a customer.
    pub(super) fn open(&self, customer_id: &CustomerId) -> &[(ReservationId, GameId)] {
        self.open.get(customer_id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn stock(&self, game_id: &GameId) -> Option<&Stock> {
        self.stocks.get(game_id).or_else(|| self.stocks_before.get(game_id))
    }

    /// How many limited editions there are.
    pub(super) fn stocks(&self) -> usize {
        let new = self.stocks.keys().filter(|game_id| !self.stocks_before.contains_key(*game_id)).count();
        self.stocks_before.len() + new
    }

    /// The revision at which something changed last; 0 when it never did.
    pub(super) fn last_change(&self, subject: &Subject) -> Revision {
        self.last_changes.get(subject).copied().unwrap_or(0)
    }

    /// Puts an entitlement in the place of its key, which has none.
    pub(super) fn begin(&mut self, entitlement: Entitlement) {
        let key = entitlement.key();
        self.touch(&key, entitlement.valid_from);
        self.replace(key, Some(Arc::new(entitlement)));
    }

    /// Ends the entitlement of a key, and returns it.
    pub(super) fn end(&mut self, key: &Key, end: End) -> Option<Arc<Entitlement>> {
        let ended = self.get(key).cloned()?;
        self.touch(key, end.valid_to);
        self.replace(key.clone(), None);
        self.past.push(PastEntitlement { entitlement: Arc::clone(&ended), end });
        self.journal.push(Undo::Past);
        Some(ended)
    }

    fn replace(&mut self, key: Key, now: Option<Arc<Entitlement>>) {
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot { assumed: true, ..Slot::default() });
        let before = std::mem::replace(&mut slot.now, now);
        self.journal.push(Undo::Slot(key, before));
    }

    /// Remembers that a customer's ownership changed, where a later command of the batch may ask for it.
    fn touch(&mut self, key: &Key, revision: Revision) {
        if self.last_changes.is_empty() {
            return;
        }
        for subject in [(key.0.clone(), None), (key.0.clone(), Some(key.1.clone()))] {
            if let Some(last) = self.last_changes.get_mut(&subject) {
                let before = std::mem::replace(last, revision);
                self.journal.push(Undo::LastChange(subject, before));
            }
        }
    }

    pub(super) fn put_reservation(&mut self, reservation: Reservation) {
        let id = reservation.reservation_id;
        if let Some(open) = self.open.get_mut(&reservation.customer_id) {
            self.journal.push(Undo::Open(reservation.customer_id.clone(), open.clone()));
            if reservation.is_open() {
                open.push((id, reservation.game_id.clone()));
            } else {
                open.retain(|(open, _)| *open != id);
            }
        }
        let before = self.reservations.insert(id, reservation);
        self.journal.push(Undo::Reservation(id, before));
        self.changed_reservations.push(id);
    }

    pub(super) fn put_stock(&mut self, stock: Stock) {
        let game_id = stock.game_id.clone();
        let before = self.stocks.insert(game_id.clone(), stock);
        self.journal.push(Undo::Stock(game_id, before));
    }

    /// Keeps what was done since the last command.
    pub(super) fn keep(&mut self) {
        self.journal.clear();
    }

    /// Takes back what was done since the last command.
    pub(super) fn roll_back(&mut self) {
        while let Some(undo) = self.journal.pop() {
            match undo {
                Undo::Slot(key, before) => {
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.now = before;
                    }
                }
                Undo::Past => drop(self.past.pop()),
                Undo::Reservation(id, before) => {
                    self.changed_reservations.pop();
                    match before {
                        Some(before) => self.reservations.insert(id, before),
                        None => self.reservations.remove(&id),
                    };
                }
                Undo::Open(customer_id, before) => drop(self.open.insert(customer_id, before)),
                Undo::Stock(game_id, before) => {
                    match before {
                        Some(before) => self.stocks.insert(game_id, before),
                        None => self.stocks.remove(&game_id),
                    };
                }
                Undo::LastChange(subject, before) => drop(self.last_changes.insert(subject, before)),
            }
        }
    }

    /// The keys that were assumed to have no entitlement and that the batch does not insert: writing it does not prove the
    /// assumption, as the unique key does for those that are inserted.
    pub(crate) fn unproven(&self) -> Vec<Key> {
        let unproven = self.slots.iter().filter(|(_, slot)| slot.assumed && slot.now.is_none());
        unproven.map(|(key, _)| key.clone()).collect()
    }

    /// Drops what began and ended in one commit, since it was owned at no revision. Where nothing else of the key tells that
    /// something changed then, it is kept once.
    fn drop_brief(&self, past: &mut Vec<PastEntitlement>) {
        let is_brief = |one: &PastEntitlement| one.entitlement.valid_from == one.end.valid_to;
        if !past.iter().any(is_brief) {
            return;
        }
        let lasting = past.iter().filter(|one| !is_brief(one)).map(|one| &one.entitlement);
        let lasting = lasting.chain(self.slots.values().filter_map(|slot| slot.now.as_ref()));
        let mut told: HashSet<_> = lasting.map(|one| (one.key(), one.valid_from)).collect();
        past.retain(|one| !is_brief(one) || told.insert((one.entitlement.key(), one.end.valid_to)));
    }

    /// What has to be written to make what is stored what this state is.
    pub(crate) fn into_effects(mut self) -> Effects {
        let mut effects = Effects { past: std::mem::take(&mut self.past), ..Effects::default() };
        self.drop_brief(&mut effects.past);
        for (key, slot) in self.slots {
            match (slot.before, slot.now) {
                (None, Some(now)) => effects.inserted.push(now),
                (Some(before), Some(now)) if !Arc::ptr_eq(&before, &now) => effects.replaced.push(now),
                (Some(_), None) => effects.removed.push(key),
                // As it was, or granted and revoked within the batch: only its past is left.
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        // A fixed order makes what is written independent of the hash map's.
        let order = |one: &Arc<Entitlement>, other: &Arc<Entitlement>| {
            (&one.customer_id, &one.game_id).cmp(&(&other.customer_id, &other.game_id))
        };
        effects.inserted.sort_unstable_by(order);
        effects.replaced.sort_unstable_by(order);
        effects.removed.sort_unstable();
        let mut changed = self.changed_reservations;
        changed.sort_unstable();
        changed.dedup();
        let mut reservations = self.reservations;
        effects.reservations = changed.iter().filter_map(|id| reservations.remove(id)).collect();
        effects.stocks = self.stocks.into_values().collect();
        effects.stocks.sort_unstable_by(|one, other| one.game_id.cmp(&other.game_id));
        effects
    }
}
