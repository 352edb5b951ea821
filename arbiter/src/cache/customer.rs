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

    /// Puts an entitlement into the place of its game, or takes it away.
    pub(super) fn change(&mut self, at: Revision, game_id: &GameId, entitlement: Option<&Arc<Entitlement>>) {
        self.since = at;
        match (self.place(game_id), entitlement) {
            (Ok(place), Some(entitlement)) => {
                self.bytes += bytes_of(entitlement);
                self.bytes -= bytes_of(&self.games[place]);
                self.games[place] = Arc::clone(entitlement);
            }
            (Ok(place), None) => self.bytes -= bytes_of(&self.games.remove(place)),
            (Err(place), Some(entitlement)) => {
                self.bytes += bytes_of(entitlement);
                self.games.insert(place, Arc::clone(entitlement));
            }
            (Err(_), None) => {}
        }
    }
}

fn bytes_of(entitlement: &Entitlement) -> usize {
    ENTITLEMENT_BYTES + entitlement.game_id.as_str().len() + entitlement.cause.bytes()
}
