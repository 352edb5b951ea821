//! How results are shown: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table for people.
    Table,
    /// One JSON object; for `watch` and `example` one on each line.
    Json,
}

/// Prints a text to standard output.
///
/// # Errors
///
/// When it cannot be written; a reader that has gone is not a failure to the caller (see [`Failure`]).
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    Ok(stdout.flush()?)
}

/// Prints an object as one line of JSON to standard output.
///
/// # Errors
///
/// As [`text`].
pub(crate) fn json(object: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(object).map_err(io::Error::from)?;
    text(&line)
}

/// A table with these columns.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let bold = colours(&io::stdout());
    table.set_header(columns.iter().map(|column| {
        let cell = Cell::new(column.to_uppercase());
        if bold { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    // Nothing between the columns but space, and none before the first.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table as text, without space at the ends of lines.
pub(crate) fn render(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Whether colours and other styles may be written there: to a terminal, unless `NO_COLOR` is set to something.
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_color
}

/// `1 game`, `2 games`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_plain_where_nobody_looks() {
        let mut shown = table(&["game", "since"]);
        shown.add_row(["tiny-forest", "7"]);
        assert_eq!(render(&shown), "GAME         SINCE\ntiny-forest  7\n");
    }

    #[test]
    fn things_are_counted_in_words() {
        assert_eq!(count(1, "game"), "1 game");
        assert_eq!(count(0, "game"), "0 games");
    }
}
