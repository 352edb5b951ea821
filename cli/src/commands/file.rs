//! Reads files that a person names, of a limited size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::exit::{Failure, Kind};

/// What stands for standard input.
const STDIN: &str = "-";

/// Reads a file of at most so many bytes.
///
/// # Errors
///
/// When it cannot be read, or is larger.
pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| wrong(path, &error.to_string()))?;
    read_from(file, path, max_bytes)
}

/// Reads a file, or standard input where the path is `-`.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_or_stdin(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    if path.as_os_str() == STDIN { read_from(io::stdin(), path, max_bytes) } else { read(path, max_bytes) }
}

fn read_from(reader: impl Read, path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, however it says how large it is.
    let read = reader.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| wrong(path, &error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max_bytes {
        return Err(wrong(path, &format!("the file has over {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// What is wrong with a file.
pub(super) fn wrong(path: &Path, what: &str) -> Failure {
    let name =
        if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() };
    Failure::new(Kind::BadInput, "FILE", what).while_doing(&name).with("file", name)
}
