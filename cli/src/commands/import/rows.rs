//! Reads the rows of a file to import: pure, so that every odd file can be tested.

mod csv_rows;
mod json_rows;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use gameshelf::catalog::Catalog;
use gameshelf::ids::{CustomerId, GameId};
use prost_types::Timestamp;

/// The most characters of a field that are repeated in the file of rejects.
const SHOWN_MAX_CHARS: usize = 1024;

/// A game that a customer owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The line where the row begins, counted from 1.
    pub(super) line: u64,
    pub(super) customer_id: CustomerId,
    pub(super) game_id: GameId,
    /// When the ownership ends by itself.
    pub(super) end_time: Option<Timestamp>,
}

/// A row that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The line where the row begins, counted from 1.
    pub(super) line: u64,
    /// Why.
    pub(super) reason: String,
    /// The fields as they stand in the file.
    pub(super) customer_id: String,
    pub(super) game_title: String,
}

/// All rows of a file.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// In the order of the file, each customer and game once.
    pub(super) good: Vec<Row>,
    /// How many rows say again what an earlier row said.
    pub(super) repeated: u64,
    pub(super) rejected: Vec<Rejected>,
}

/// A file that is none of those that can be imported.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(super) struct FileError {
    line: u64,
    reason: String,
}

/// Reads a file: CSV with titles of games, of another store, or what `gameshelf export` wrote, CSV or JSON lines.
///
/// # Errors
///
/// When the file has another header, is not CSV or JSON, has a record of more than one line or is not UTF-8: the first such
/// line. A row that is only of no use is rejected instead.
pub(super) fn read(file: &[u8], catalog: Option<&Catalog>) -> Result<Rows, FileError> {
    let reading = Reading { catalog, rows: Rows::default(), seen: HashSet::new() };
    if file.trim_ascii_start().first() == Some(&b'{') {
        json_rows::read(file, reading)
    } else {
        csv_rows::read(file, reading)
    }
}

/// The rows of a file, as far as they are read.
struct Reading<'a> {
    catalog: Option<&'a Catalog>,
    rows: Rows,
    seen: HashSet<(CustomerId, GameId)>,
}

/// A row as it stands in a file; the game is named as the file does it.
struct Fields<'a> {
    customer_id: &'a str,
    game: &'a str,
    end_time: &'a str,
}

impl Reading<'_> {
    /// Takes a row of which `game_of` tells the game.
    fn row(&mut self, line: u64, fields: &Fields<'_>, game_id: Result<GameId, String>) {
        let parsed = self.customer(fields.customer_id).and_then(|customer_id| {
            let end_time = match fields.end_time {
                "" => None,
                text => {
                    Some(text.parse().map_err(|_| "end_time must be a time such as 2026-11-29T03:40:00Z")?)
                }
            };
            Ok(Row { line, customer_id, game_id: game_id?, end_time })
        });
        match parsed {
            Ok(row) if self.seen.insert((row.customer_id.clone(), row.game_id.clone())) => {
                self.rows.good.push(row);
            }
            Ok(_) => self.rows.repeated += 1,
            Err(reason) => self.reject(line, reason, fields),
        }
    }

    fn reject(&mut self, line: u64, reason: String, fields: &Fields<'_>) {
        let (customer_id, game_title) = (shown(fields.customer_id), shown(fields.game));
        self.rows.rejected.push(Rejected { line, reason, customer_id, game_title });
    }

    /// Rows of one customer mostly stand together, and share its id.
    fn customer(&self, text: &str) -> Result<CustomerId, String> {
        match self.rows.good.last() {
            Some(last) if last.customer_id.as_str() == text => Ok(last.customer_id.clone()),
            _ => text.parse().map_err(|error| format!("customer_id {error}")),
        }
    }

    /// A game that the file names by its id. Where there is a catalogue, it must be in it.
    fn game_by_id(&self, text: &str) -> Result<GameId, String> {
        let game_id = text.parse().map_err(|error| format!("game_id {error}"))?;
        if self.catalog.is_some() { self.of_catalog(&game_id) } else { Ok(game_id) }
    }

    fn game_by_title(&self, title: &str) -> Result<GameId, String> {
        if title.is_empty() {
            return Err("game_title must not be empty".to_owned());
        }
        self.of_catalog(&GameId::from_title(title).map_err(|error| format!("the id of the title {error}"))?)
    }

    /// The catalogue's own id, so that every row of a game shares one text.
    fn of_catalog(&self, game_id: &GameId) -> Result<GameId, String> {
        let game = self.catalog.and_then(|catalog| catalog.get(game_id));
        let game = game.ok_or_else(|| format!("no game of the catalogue has the id {game_id}"))?;
        Ok(game.game_id.clone())
    }
}

fn shown(field: &str) -> String {
    field.chars().take(SHOWN_MAX_CHARS).collect()
}
