//! All games of one customer.

use std::sync::Arc;

use crate::domain::{Entitlement, GameId, Revision};

/// What one entitlement takes beside its texts: its counters, its place in the list, and the allocator's own.
const ENTITLEMENT_BYTES: usize = 192;
/// The same of a customer.
const CUSTOMER_BYTES: usize = 192;

/// All games that a customer owns, ordered by game.
#[derive(Clone, Debug)]
pub(crate) struct CustomerGames {
    games: Vec<Arc<Entitlement>>,
    /// Since this revision they are as they are, up to the newest one.
    since: Revision,
    bytes: usize,
}

impl CustomerGames {
    /// The games at a revision, ordered by game.
    pub(crate) fn new(at: Revision, games: Vec<Entitlement>) -> Self {
        let bytes = CUSTOMER_BYTES + games.iter().map(bytes_of).sum::<usize>();
        Self { games: games.into_iter().map(Arc::new).collect(), since: at, bytes }
    }

    /// The entitlement of a game, or none when it is not owned.
    pub(crate) fn get(&self, game_id: &GameId) -> Option<&Arc<Entitlement>> {
        self.place(game_id).ok().map(|place| &self.games[place])
    }

    /// The games after one, in order.
    pub(crate) fn after(&self, game_id: Option<&GameId>) -> &[Arc<Entitlement>] {
        let first = game_id.map_or(0, |game_id| match self.place(game_id) {
            Ok(place) => place + 1,
            Err(place) => place,
        });
        &self.games[first..]
    }

    /// Whether they were the same at a revision, which is not beyond the newest one.
    pub(crate) fn was_same_at(&self, revision: Revision) -> bool {
        self.since <= revision
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn place(&self, game_id: &GameId) -> Result<usize, usize> {
        self.games.binary_search_by(|one| one.game_id.cmp(game_id))
    }

    /// They are what they are since this revision at the earliest.
    pub(super) fn changed_at(&mut self, revision: Revision) {
        self.since = revision;
    }

    /// Puts an entitlement into the place of its game.
    pub(super) fn put(&mut self, entitlement: &Arc<Entitlement>) {
        self.bytes += bytes_of(entitlement);
        match self.place(&entitlement.game_id) {
            Ok(place) => {
                self.bytes -= bytes_of(&self.games[place]);
                self.games[place] = Arc::clone(entitlement);
            }
            Err(place) => self.games.insert(place, Arc::clone(entitlement)),
        }
    }

    /// Takes the entitlement of a game away.
    pub(super) fn remove(&mut self, game_id: &GameId) {
        if let Ok(place) = self.place(game_id) {
            self.bytes -= bytes_of(&self.games.remove(place));
        }
    }
}

fn bytes_of(entitlement: &Entitlement) -> usize {
    ENTITLEMENT_BYTES + entitlement.game_id.as_str().len() + entitlement.cause.bytes()
}
