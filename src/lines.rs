//! Which line of a CSV file a record stands on, for messages to people.

/// The line, counted from 1, of the record that a reader places at `byte` and `line`.
///
/// A CSV reader's position is that of the end of the record before: what is left of its line end, and empty lines,
/// still have to be counted.
#[must_use]
pub fn line_of_record(file: &[u8], byte: u64, line: u64) -> u64 {
    let begin = usize::try_from(byte).unwrap_or(usize::MAX);
    let rest = file.get(begin..).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let lines = ends.filter(|byte| **byte == b'\n').count();
    line + u64::try_from(lines).unwrap_or(u64::MAX)
}
