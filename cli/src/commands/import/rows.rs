//! Reads the rows of an export: pure, so that every odd file can be tested.

use std::collections::{HashMap, HashSet};

use csv::{ByteRecord, StringRecord};
use gameshelf::catalog::Catalog;
use gameshelf::ids::{CustomerId, GameId};
use gameshelf::lines::line_of_record;

const HEADER: [&str; 2] = ["customer_id", "game_title"];
/// The most characters of a field that are repeated in the file of rejects.
const SHOWN_MAX_CHARS: usize = 1024;

/// A customer with the games that the file says they own, each once, in the order of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) customer_id: CustomerId,
    pub(super) games: Vec<GameId>,
}

/// A row that names no game of a customer.
#[derive(Debug, PartialEq, Eq)]
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
    /// In the order in which the file first names the customers.
    pub(super) customers: Vec<Library>,
    /// How many rows say again what an earlier row said.
    pub(super) repeated: u64,
    pub(super) rejected: Vec<Rejected>,
}

/// A file that is no export.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(super) struct FileError {
    line: u64,
    reason: String,
}

/// Reads an export.
///
/// # Errors
///
/// When the file has another header, is not CSV, has a record of more than one line or is not UTF-8: the first such
/// line. A row that is only of no use is rejected instead.
pub(super) fn read(file: &[u8], catalog: &Catalog) -> Result<Rows, FileError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.byte_headers().map_err(|error| FileError { line: 1, reason: error.to_string() })?;
    if header.iter().ne(HEADER.map(str::as_bytes)) {
        let reason = format!("the header must be {}", HEADER.join(","));
        return Err(FileError { line: 1, reason });
    }
    let mut reading =
        Reading { catalog, rows: Rows::default(), places: HashMap::new(), seen: HashSet::new() };
    let mut record = ByteRecord::new();
    loop {
        let begin = reader.position().clone();
        let more = reader.read_byte_record(&mut record).map_err(|error| FileError {
            line: line_of_record(file, begin.byte(), begin.line()),
            reason: format!("the line is not CSV: {error}"),
        })?;
        if !more {
            return Ok(reading.rows);
        }
        let line = line_of_record(file, begin.byte(), begin.line());
        if record.iter().any(|field| field.iter().any(|byte| matches!(byte, b'\r' | b'\n'))) {
            // No id and no title has a line break. What follows a quote that is not closed would be lost in one row.
            let reason = "a quoted field goes on over the end of the line; is a quote not closed?".to_owned();
            return Err(FileError { line, reason });
        }
        let text = StringRecord::from_byte_record(record.clone());
        let text = text.map_err(|_| FileError { line, reason: "the text is not UTF-8".to_owned() })?;
        reading.row(line, &text);
    }
}

struct Reading<'a> {
    catalog: &'a Catalog,
    rows: Rows,
    /// Where each customer stands in `rows.customers`.
    places: HashMap<CustomerId, usize>,
    seen: HashSet<(usize, GameId)>,
}

impl Reading<'_> {
    fn row(&mut self, line: u64, record: &StringRecord) {
        match parse(record, self.catalog) {
            Ok((customer_id, game_id)) => self.add(customer_id, game_id),
            Err(reason) => self.rows.rejected.push(Rejected {
                line,
                reason,
                customer_id: shown(record.get(0)),
                game_title: shown(record.get(1)),
            }),
        }
    }

    fn add(&mut self, customer_id: CustomerId, game_id: GameId) {
        let customers = &mut self.rows.customers;
        let place = *self.places.entry(customer_id).or_insert_with_key(|customer_id| {
            customers.push(Library { customer_id: customer_id.clone(), games: Vec::new() });
            customers.len() - 1
        });
        if self.seen.insert((place, game_id.clone())) {
            customers[place].games.push(game_id);
        } else {
            self.rows.repeated += 1;
        }
    }
}

fn parse(record: &StringRecord, catalog: &Catalog) -> Result<(CustomerId, GameId), String> {
    if record.len() != HEADER.len() {
        return Err(format!("{} fields are needed, and there are {}", HEADER.len(), record.len()));
    }
    let field = |index: usize| record.get(index).unwrap_or_default();
    let customer_id = field(0).parse().map_err(|error| format!("customer_id {error}"))?;
    if field(1).is_empty() {
        return Err("game_title must not be empty".to_owned());
    }
    let game_id = GameId::from_title(field(1)).map_err(|error| format!("the id of the title {error}"))?;
    // The catalogue's own id, so that every row of a game shares one text.
    let game =
        catalog.get(&game_id).ok_or_else(|| format!("no game of the catalogue has the id {game_id}"))?;
    Ok((customer_id, game.game_id.clone()))
}

fn shown(field: Option<&str>) -> String {
    field.unwrap_or_default().chars().take(SHOWN_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn catalog() -> Catalog {
        Catalog::parse(include_bytes!("../../../../samples/catalog.csv")).unwrap()
    }

    fn read_text(text: &str) -> Rows {
        read(text.as_bytes(), &catalog()).unwrap()
    }

    fn refused(file: &[u8]) -> String {
        read(file, &catalog()).expect_err("the file is wrong").to_string()
    }

    fn library(customer_id: &str, games: &[&str]) -> Library {
        Library {
            customer_id: customer_id.parse().unwrap(),
            games: games.iter().map(|game| game.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn rows_are_grouped_by_customer() {
        let rows = read_text(
            "customer_id,game_title\n1,Tiny Forest\n2,TINY forest!\n1,\"Salt, and Signal\"\n1,tiny-forest\n",
        );
        let expected = [library("1", &["tiny-forest", "salt-and-signal"]), library("2", &["tiny-forest"])];
        assert_eq!(rows.customers, expected);
        assert_eq!((rows.repeated, rows.rejected.len()), (1, 0));
    }

    #[test]
    fn a_row_of_no_use_is_rejected_with_line_and_reason() {
        let rows = read_text(
            "customer_id,game_title\n,Tiny Forest\n1,Unwritten\n1\n1,Tiny Forest,x\n1,\n1,!!!\n1\t2,Tiny Forest\n1,Gone\n",
        );
        let reasons: Vec<_> =
            rows.rejected.iter().map(|row| format!("{}: {}", row.line, row.reason)).collect();
        assert_eq!(
            reasons,
            [
                "2: customer_id must not be empty",
                "3: no game of the catalogue has the id unwritten",
                "4: 2 fields are needed, and there are 1",
                "5: 2 fields are needed, and there are 3",
                "6: game_title must not be empty",
                "7: the id of the title must not be empty",
                "8: customer_id must not contain control characters",
                "9: no game of the catalogue has the id gone",
            ]
        );
        assert_eq!(rows.rejected[1].game_title, "Unwritten");
    }

    #[test]
    fn lines_are_counted_over_empty_ones_and_with_any_line_end() {
        let rows = read_text("customer_id,game_title\r\n1,Gone\r\n\r\n\r\n1,Lost\r\n");
        assert_eq!(rows.rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5]);
        let rows = read_text("customer_id,game_title\n\n1,Gone\n1,Lost");
        assert_eq!(rows.rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn a_file_that_is_no_export_is_refused_with_its_line() {
        let header = "line 1: the header must be customer_id,game_title";
        assert_eq!(refused(b""), header);
        assert_eq!(refused(b"\x7fELF\x02\x01"), header);
        assert_eq!(refused(b"customer_id;game_title\n1;Tiny Forest\n"), header);
        assert_eq!(refused(b"customer_id,game_title\n1,Tiny\n1,\xff\n"), "line 3: the text is not UTF-8");
    }

    #[test]
    fn a_quote_that_is_not_closed_is_refused_with_its_line() {
        let open = "line 4: a quoted field goes on over the end of the line; is a quote not closed?";
        let begin = "customer_id,game_title\n1,Tiny Forest\n\n";
        for rest in [
            "1,\"Hollow Comet\n2,Tiny Forest\n",
            "1,\"Hollow Comet\n2,\"Tiny Forest\"\n",
            "1,\"Hollow Comet\n",
            "\"1\r2\",Tiny Forest\n",
        ] {
            assert_eq!(refused(format!("{begin}{rest}").as_bytes()), open, "{rest}");
        }
    }

    #[test]
    fn the_sample_has_every_kind_of_row() {
        let rows = read_text(include_str!("../../../../samples/ownership.csv"));
        let games: usize = rows.customers.iter().map(|library| library.games.len()).sum();
        assert_eq!((games, rows.customers.len(), rows.repeated, rows.rejected.len()), (14, 6, 4, 8));
    }

    proptest! {
        #[test]
        fn every_row_is_counted_once(rows in proptest::collection::vec(("[a-c]{0,1}", "Tiny Forest|Hollow Comet|Gone|,"), 0..40)) {
            let lines = rows.iter().map(|(customer_id, title)| format!("{customer_id},\"{title}\"\n"));
            let read = read_text(&format!("customer_id,game_title\n{}", lines.collect::<String>()));
            let granted: usize = read.customers.iter().map(|library| library.games.len()).sum();
            prop_assert_eq!(granted + usize::try_from(read.repeated).unwrap() + read.rejected.len(), rows.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = b"customer_id,game_title\n".to_vec();
            file.extend_from_slice(&tail);
            let _ = read(&file, &catalog());
        }
    }
}
