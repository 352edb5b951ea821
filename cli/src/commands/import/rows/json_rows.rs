//! Rows of JSON lines: one object in each line, as our own export writes them.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Fields, FileError, Reading, Rows};

/// One line. What is not known here is passed over.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    customer_id: Cow<'a, str>,
    #[serde(borrow)]
    game_id: Cow<'a, str>,
    #[serde(borrow, default)]
    end_time: Option<Cow<'a, str>>,
}

pub(super) fn read(file: &[u8], mut reading: Reading<'_>) -> Result<Rows, FileError> {
    for (line, bytes) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let row: Line<'_> = serde_json::from_slice(bytes)
            .map_err(|error| FileError { line, reason: format!("the line is no row of JSON: {error}") })?;
        let end_time = row.end_time.as_deref().unwrap_or_default();
        let fields = Fields { customer_id: &row.customer_id, game: &row.game_id, end_time };
        let game_id = reading.game_by_id(fields.game);
        reading.row(line, &fields, game_id);
    }
    Ok(reading.rows)
}
