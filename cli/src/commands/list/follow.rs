//! `gameshelf list --follow`: a customer's games, and every change of them as it comes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use gameshelf::proto::freshness::v1::{Freshness, Provenance};
use gameshelf::proto::gamelist::v1::watch_games_response::Event;
use gameshelf::proto::gamelist::v1::{WatchGamesRequest, WatchGamesResponse};
use serde::Serialize;
use tonic::Status;

use super::{Options, requirement};
use crate::clients::Clients;
use crate::commands::hints;
use crate::commands::patience::Patience;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

/// Between two tries to reach game-list.
const WAITS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(2);
/// How long to try to reach a game-list that has gone.
const GIVE_UP_AFTER: Duration = Duration::from_mins(1);

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    change: &'static str,
    game_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    revision: u64,
}

/// What was shown so far: the title of each game.
#[derive(Default)]
struct Shelf {
    shown: BTreeMap<String, String>,
    /// The parts of a whole list, until it is complete.
    arriving: BTreeMap<String, String>,
}

/// Something that a person is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Gets(String, String),
    Loses(String),
}

/// Tells the games and their changes for as long as somebody reads.
///
/// # Errors
///
/// That the wanted freshness cannot be had, or that game-list could not be reached for too long.
pub(super) async fn run(options: &Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let mut patience = Patience::new(&clients.environment().clock, GIVE_UP_AFTER, WAITS);
    let mut shelf = Shelf::default();
    loop {
        let request = WatchGamesRequest {
            customer_id: options.customer.to_string(),
            freshness: requirement(options).map(|wanted| Freshness { requirement: Some(wanted) }),
        };
        let opened = clients.game_list_streams()?.watch_games(request).await;
        let status = match opened {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => {
                            patience.answered();
                            tell(&mut shelf, message, output)?;
                        }
                        Ok(None) => break Status::unavailable("the stream ended"),
                        Err(status) => break status,
                    }
                }
            }
        };
        let failure = hints::add(Failure::from_status(ports::GAME_LIST.name, &status), "");
        if failure.kind() != Kind::Unavailable || !patience.wait().await {
            return Err(failure);
        }
    }
}

fn tell(shelf: &mut Shelf, message: WatchGamesResponse, output: Output) -> Result<(), Failure> {
    let revision = message.provenance.as_ref().map_or(0, |Provenance { revision, .. }| *revision);
    let Some(event) = message.event else { return Ok(()) };
    for told in shelf.take(event) {
        match (output, told) {
            (Output::Json, Told::Gets(game_id, title)) => {
                output::json(&Line { change: "gets", game_id: &game_id, title: Some(&title), revision })?;
            }
            (Output::Json, Told::Loses(game_id)) => {
                output::json(&Line { change: "loses", game_id: &game_id, title: None, revision })?;
            }
            (Output::Table, Told::Gets(game_id, title)) => {
                output::text(&format!("{revision}  + {title} ({game_id})\n"))?;
            }
            (Output::Table, Told::Loses(game_id)) => output::text(&format!("{revision}  - {game_id}\n"))?,
        }
    }
    Ok(())
}

impl Shelf {
    /// What is new in an event. A whole list that comes again, after a cut or a rebuild, is told by what it changes.
    fn take(&mut self, event: Event) -> Vec<Told> {
        match event {
            Event::Games(games) => {
                let titles = games.games.into_iter().map(|game| (game.game_id, game.title));
                self.arriving.extend(titles);
                if !games.complete {
                    return Vec::new();
                }
                let arrived = std::mem::take(&mut self.arriving);
                let lost = self.shown.keys().filter(|game_id| !arrived.contains_key(*game_id));
                let lost = lost.map(|game_id| Told::Loses(game_id.clone()));
                let new = arrived.iter().filter(|(game_id, _)| !self.shown.contains_key(*game_id));
                let new = new.map(|(game_id, title)| Told::Gets(game_id.clone(), title.clone()));
                let told = lost.chain(new).collect();
                self.shown = arrived;
                told
            }
            Event::Changes(changes) => {
                let mut told = Vec::new();
                for game_id in changes.revoked_game_ids {
                    self.shown.remove(&game_id);
                    told.push(Told::Loses(game_id));
                }
                for game in changes.granted {
                    self.shown.insert(game.game_id.clone(), game.title.clone());
                    told.push(Told::Gets(game.game_id, game.title));
                }
                told
            }
            Event::Unchanged(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gameshelf::proto::gamelist::v1::{GameChanges, OwnedGame, OwnedGames};

    use super::*;

    fn games(ids: &[&str], complete: bool) -> Event {
        let game =
            |id: &&str| OwnedGame { game_id: (*id).to_owned(), title: id.to_uppercase(), since_revision: 1 };
        Event::Games(OwnedGames { games: ids.iter().map(game).collect(), complete })
    }

    fn gets(id: &str) -> Told {
        Told::Gets(id.to_owned(), id.to_uppercase())
    }

    #[test]
    fn a_list_that_comes_again_is_told_by_what_it_changes() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.take(games(&["a"], false)), []);
        assert_eq!(shelf.take(games(&["b"], true)), [gets("a"), gets("b")]);
        assert_eq!(shelf.take(games(&["a", "b"], true)), [], "after a cut nothing is told twice");
        assert_eq!(shelf.take(games(&["b", "c"], true)), [Told::Loses("a".to_owned()), gets("c")]);
    }

    #[test]
    fn a_change_is_told_and_remembered() {
        let mut shelf = Shelf::default();
        shelf.take(games(&["a"], true));
        let changes = GameChanges { granted: Vec::new(), revoked_game_ids: vec!["a".to_owned()] };
        assert_eq!(shelf.take(Event::Changes(changes)), [Told::Loses("a".to_owned())]);
        assert_eq!(shelf.take(games(&[], true)), []);
    }
}
