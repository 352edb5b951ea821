//! The catalogue: static data that the services share as a CSV file.
//!
//! The header is `game_id,title,status,release_year,price_minor_units,currency,required_age`. A `listed` game can be
//! bought and has a price; a `delisted` one can be owned but not bought, and its price is empty. A file with one
//! wrong line is refused whole, so that no service sells from half a catalogue. Where files cannot be shared, the same
//! games go over the wire: [`Game::new`] and [`Catalog::from_games`] refuse what a file would be refused for.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use sha2::{Digest, Sha256};

use crate::ids::{self, GameId};
use crate::lines::line_of_record;

/// The most bytes of a catalogue file.
pub const FILE_MAX_BYTES: usize = 64 << 20;
/// The most bytes of a title.
pub const TITLE_MAX_BYTES: usize = 512;

const HEADER: [&str; 7] =
    ["game_id", "title", "status", "release_year", "price_minor_units", "currency", "required_age"];

/// A price in minor units of a currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// ISO 4217 code of three capital letters.
    pub currency: String,
    /// For example cents. Never negative.
    pub minor_units: i64,
}

impl fmt::Display for Price {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} minor units of {}", self.minor_units, self.currency)
    }
}

/// Whether a game can be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It can be bought for this price.
    Listed(Price),
    /// It can be owned, but not bought.
    Delisted,
}

impl Offer {
    /// For sale, for a price in minor units; none where it is not known as a number.
    ///
    /// # Errors
    ///
    /// When the price is missing or negative, or the currency is not three capital letters.
    pub fn listed(minor_units: Option<i64>, currency: &str) -> Result<Self, String> {
        let minor_units = minor_units
            .filter(|minor_units| *minor_units >= 0)
            .ok_or("price_minor_units of a listed game must be a number that is not negative")?;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err("currency of a listed game must be three capital letters".to_owned());
        }
        Ok(Self::Listed(Price { currency: currency.to_owned(), minor_units }))
    }
}

/// A game of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Game {
    /// Its id: a slug.
    pub game_id: GameId,
    /// Its title as shown to people.
    pub title: String,
    /// Whether and for how much it can be bought.
    pub offer: Offer,
    /// The year of its release, where known.
    pub release_year: Option<u16>,
    /// The age that a player must have; 0 for everyone, and where not known.
    pub required_age: u8,
}

impl Game {
    /// A game that may stand in a catalogue.
    ///
    /// # Errors
    ///
    /// What is wrong with the id or the title.
    pub fn new(
        game_id: &str,
        title: &str,
        offer: Offer,
        release_year: Option<u16>,
        required_age: u8,
    ) -> Result<Self, String> {
        let game_id = game_id.parse().map_err(|error| format!("game_id {error}"))?;
        if title.is_empty() {
            return Err("title must not be empty".to_owned());
        }
        ids::check_text(title, TITLE_MAX_BYTES).map_err(|error| format!("title {error}"))?;
        Ok(Self { game_id, title: title.to_owned(), offer, release_year, required_age })
    }
}

/// All games, ordered by id, with the hash of the file they came from.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    games: BTreeMap<GameId, Game>,
    hash: String,
}

/// Whether a text is a hash as [`Catalog::hash`] gives it.
///
/// # Errors
///
/// When it is none. The text completes a sentence that begins with the name of the field.
pub fn check_hash(text: &str) -> Result<(), &'static str> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err("must be a SHA-256 in hex: 64 characters of 0-9 and a-f") }
}

/// Why a catalogue file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct CatalogError {
    /// The line of the file, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl CatalogError {
    fn new(line: u64, reason: impl fmt::Display) -> Self {
        Self { line, reason: reason.to_string() }
    }
}

impl Catalog {
    /// Reads a catalogue file.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, and why: a wrong header, a field that is missing or malformed, a game listed
    /// twice, no game at all, or a file over [`FILE_MAX_BYTES`].
    pub fn parse(file: &[u8]) -> Result<Self, CatalogError> {
        if file.len() > FILE_MAX_BYTES {
            return Err(CatalogError::new(1, format!("the file has over {FILE_MAX_BYTES} bytes")));
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.headers().map_err(|error| from_csv(file, &error))?;
        if header.iter().ne(HEADER) {
            return Err(CatalogError::new(1, format!("the header must be {}", HEADER.join(","))));
        }
        let mut games = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| from_csv(file, &error))?;
            let line = line_of(file, record.position());
            let game = parse_game(&record).map_err(|reason| CatalogError::new(line, reason))?;
            if let Some(twice) = games.insert(game.game_id.clone(), game) {
                return Err(CatalogError::new(line, format!("game_id {} is listed twice", twice.game_id)));
            }
        }
        if games.is_empty() {
            return Err(CatalogError::new(1, "the catalogue has no games"));
        }
        Ok(Self { games, hash: hex(&Sha256::digest(file)) })
    }

    /// The catalogue of a file that somebody else has read, of its games and its hash.
    ///
    /// # Errors
    ///
    /// A hash that is none, a game that is there twice, or no game at all.
    pub fn from_games(hash: &str, games: impl IntoIterator<Item = Game>) -> Result<Self, String> {
        check_hash(hash).map_err(|why| format!("the hash {why}"))?;
        let mut all = BTreeMap::new();
        for game in games {
            if let Some(twice) = all.insert(game.game_id.clone(), game) {
                return Err(format!("game_id {} is listed twice", twice.game_id));
            }
        }
        if all.is_empty() {
            return Err("the catalogue has no games".to_owned());
        }
        Ok(Self { games: all, hash: hash.to_owned() })
    }

    /// The catalogue of whoever has not got one yet: without games, and with an empty hash.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The games after this one, ordered by id; all of them after none.
    pub fn after(&self, game_id: Option<&GameId>) -> impl Iterator<Item = &Game> {
        let from = game_id.map_or(Bound::Unbounded, Bound::Excluded);
        self.games.range::<GameId, _>((from, Bound::Unbounded)).map(|(_, game)| game)
    }

    /// The game with this id.
    #[must_use]
    pub fn get(&self, game_id: &GameId) -> Option<&Game> {
        self.games.get(game_id)
    }

    /// How many games there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.games.len()
    }

    /// Whether there are no games: only so for [`Catalog::none`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.games.is_empty()
    }

    /// SHA-256 of the file, in hex; empty for [`Catalog::none`].
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

fn line_of(file: &[u8], position: Option<&csv::Position>) -> u64 {
    position.map_or(1, |position| line_of_record(file, position.byte(), position.line()))
}

fn from_csv(file: &[u8], error: &csv::Error) -> CatalogError {
    let line = line_of(file, error.position());
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => CatalogError::new(line, "the text is not UTF-8"),
        _ => CatalogError::new(line, "the line is not CSV"),
    }
}

fn parse_game(record: &csv::StringRecord) -> Result<Game, String> {
    if record.len() != HEADER.len() {
        return Err(format!("{} fields are needed, and there are {}", HEADER.len(), record.len()));
    }
    let field = |index: usize| record.get(index).unwrap_or_default();
    Game::new(
        field(0),
        field(1),
        parse_offer(field(2), field(4), field(5))?,
        parse_optional(field(3), "release_year must be a year")?,
        parse_optional(field(6), "required_age must be a number from 0 to 255")?.unwrap_or(0),
    )
}

fn parse_offer(status: &str, price: &str, currency: &str) -> Result<Offer, String> {
    match status {
        "listed" => Offer::listed(price.parse().ok(), currency),
        "delisted" if price.is_empty() => Ok(Offer::Delisted),
        "delisted" => Err("price_minor_units of a delisted game must be empty".to_owned()),
        _ => Err(format!("status must be listed or delisted, and is {status:?}")),
    }
}

fn parse_optional<T: std::str::FromStr>(text: &str, wrong: &str) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| wrong.to_owned()) }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "game_id,title,status,release_year,price_minor_units,currency,required_age\n\
        tiny-forest,Tiny Forest,listed,2019,499,USD,0\n\
        \"old-sea\",\"Old, Sea\",delisted,,,,\n";

    fn refused(file: &str) -> String {
        Catalog::parse(file.as_bytes()).expect_err("the file is wrong").to_string()
    }

    #[test]
    fn a_good_file_is_read() {
        let catalog = Catalog::parse(GOOD.as_bytes()).unwrap();
        let price = Price { currency: "USD".to_owned(), minor_units: 499 };
        assert_eq!(catalog.len(), 2);
        assert_eq!(catalog.get(&"tiny-forest".parse().unwrap()).unwrap().offer, Offer::Listed(price));
        let old = catalog.get(&"old-sea".parse().unwrap()).unwrap();
        assert_eq!((old.title.as_str(), &old.offer), ("Old, Sea", &Offer::Delisted));
        assert_eq!(catalog.hash().len(), 64);
        assert_ne!(catalog.hash(), Catalog::parse(GOOD.replace("499", "500").as_bytes()).unwrap().hash());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let with = |line: &str| refused(&format!("{GOOD}{line}\n"));
        assert_eq!(refused("a,b\n"), format!("line 1: the header must be {}", HEADER.join(",")));
        assert_eq!(refused(GOOD.lines().next().unwrap()), "line 1: the catalogue has no games");
        assert_eq!(
            with("Big,Big,listed,,1,USD,"),
            "line 4: game_id must be a slug: runs of a-z and 0-9, joined by single '-'"
        );
        assert_eq!(with("old-sea,Again,delisted,,,,"), "line 4: game_id old-sea is listed twice");
        assert_eq!(with("a,,listed,,1,USD,"), "line 4: title must not be empty");
        assert_eq!(with("a,A,sold,,1,USD,"), "line 4: status must be listed or delisted, and is \"sold\"");
        assert_eq!(
            with("a,A,listed,,-1,USD,"),
            "line 4: price_minor_units of a listed game must be a number that is not negative"
        );
        assert_eq!(
            with("a,A,listed,,1,usd,"),
            "line 4: currency of a listed game must be three capital letters"
        );
        assert_eq!(
            with("a,A,delisted,,1,USD,"),
            "line 4: price_minor_units of a delisted game must be empty"
        );
        assert_eq!(with("a,A,listed,soon,1,USD,"), "line 4: release_year must be a year");
        assert_eq!(with("a,A,listed,,1,USD,300"), "line 4: required_age must be a number from 0 to 255");
        assert_eq!(with("a,A"), "line 4: 7 fields are needed, and there are 2");
    }

    #[test]
    fn games_of_the_wire_are_held_to_what_a_file_is() {
        let file = Catalog::parse(GOOD.as_bytes()).unwrap();
        let games = || file.after(None).cloned().collect::<Vec<_>>();
        let copy = Catalog::from_games(file.hash(), games()).unwrap();
        assert_eq!((copy.hash(), copy.len()), (file.hash(), 2));
        assert!(copy.after(None).eq(file.after(None)));
        let refused = |hash: &str, games: Vec<Game>| Catalog::from_games(hash, games).unwrap_err();
        assert!(refused("abc", games()).starts_with("the hash must be a SHA-256"));
        assert_eq!(refused(file.hash(), vec![]), "the catalogue has no games");
        let twice = [games(), games()].concat();
        assert_eq!(refused(file.hash(), twice), "game_id old-sea is listed twice");
        assert_eq!(Game::new("a", "", Offer::Delisted, None, 0), Err("title must not be empty".to_owned()));
        assert!(Game::new("A", "A", Offer::Delisted, None, 0).unwrap_err().starts_with("game_id must be"));
        assert!(Offer::listed(Some(-1), "USD").is_err() && Offer::listed(Some(1), "usd").is_err());
    }

    #[test]
    fn games_come_in_order_after_any_place() {
        let catalog = Catalog::parse(GOOD.as_bytes()).unwrap();
        let ids = |after: Option<&str>| {
            let after: Option<GameId> = after.map(|id| id.parse().unwrap());
            catalog.after(after.as_ref()).map(|game| game.game_id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(None), ["old-sea", "tiny-forest"]);
        assert_eq!(ids(Some("old-sea")), ["tiny-forest"]);
        assert_eq!(ids(Some("p")), ["tiny-forest"]);
        assert_eq!(ids(Some("tiny-forest")), [""; 0]);
    }

    #[test]
    fn lines_are_counted_over_empty_ones_and_with_any_line_end() {
        let with_crlf = format!("{GOOD}\na,A\n").replace('\n', "\r\n");
        assert_eq!(refused(&with_crlf), "line 5: 7 fields are needed, and there are 2");
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        let mut file = GOOD.as_bytes().to_vec();
        file.extend_from_slice(b"a,\xff,listed,,1,USD,\n");
        assert_eq!(Catalog::parse(&file).unwrap_err().reason, "the text is not UTF-8");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = GOOD.as_bytes().to_vec();
            file.extend_from_slice(&tail);
            let _ = Catalog::parse(&file);
        }
    }
}
