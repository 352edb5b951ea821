//! Rows of CSV.

use csv::{ByteRecord, StringRecord};
use gameshelf::lines::line_of_record;

use super::{Fields, FileError, Reading, Rows};

/// The columns of another store's file, and those of our own export.
const TITLES: [&str; 2] = ["customer_id", "game_title"];
const EXPORT: [&str; 3] = ["customer_id", "game_id", "end_time"];

pub(super) fn read(file: &[u8], mut reading: Reading<'_>) -> Result<Rows, FileError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.byte_headers().map_err(|error| FileError { line: 1, reason: error.to_string() })?;
    let is_export = header.iter().eq(EXPORT.map(str::as_bytes));
    if !is_export && header.iter().ne(TITLES.map(str::as_bytes)) {
        let reason = format!("the header must be {}, or {}", TITLES.join(","), EXPORT.join(","));
        return Err(FileError { line: 1, reason });
    }
    if !is_export && reading.catalog.is_none() {
        let reason =
            "the rows name games by their titles, whose ids are in a catalogue: say which with --catalog";
        return Err(FileError { line: 1, reason: reason.to_owned() });
    }
    let columns = if is_export { EXPORT.len() } else { TITLES.len() };
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
        let field = |index: usize| text.get(index).unwrap_or_default();
        let end_time = if is_export { field(2) } else { "" };
        let fields = Fields { customer_id: field(0), game: field(1), end_time };
        if text.len() != columns {
            let reason = format!("{columns} fields are needed, and there are {}", text.len());
            reading.reject(line, reason, &fields);
        } else if is_export {
            let game_id = reading.game_by_id(fields.game);
            reading.row(line, &fields, game_id);
        } else {
            let game_id = reading.game_by_title(fields.game);
            reading.row(line, &fields, game_id);
        }
    }
}
