//! Writes the file of rejected rows.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::rows::Rejected;

/// Where the rejects of a file go when nobody says: into the current directory, not beside a file that may be in a
/// place that is not ours to write to.
pub(super) fn default_path(import: &Path) -> PathBuf {
    let mut name = import.file_stem().map_or_else(|| OsString::from("import"), OsString::from);
    name.push(".rejects.csv");
    PathBuf::from(name)
}

/// Writes the rows, so that the file has all of them or stays as it was. Without rows it has only its header: a file
/// of an earlier import must not be taken for one of this.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn write(path: &Path, rejected: &[Rejected]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
    let mut partial = name.to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(partial);
    let written = write_all(&partial, rejected).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // What is left of it is of no use; that it may not even exist is no further failure.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_all(path: &Path, rejected: &[Rejected]) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(File::create(path)?);
    writer.write_record(["line", "reason", "customer_id", "game_title"])?;
    for row in rejected {
        writer.write_record([&row.line.to_string(), &row.reason, &row.customer_id, &row.game_title])?;
    }
    let file = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64) -> Rejected {
        Rejected {
            line,
            reason: "no game".to_owned(),
            customer_id: "1".to_owned(),
            game_title: "A, \"B\"".to_owned(),
        }
    }

    #[test]
    fn rows_are_written_whole_and_over_older_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.rejects.csv");
        write(&path, &[row(1), row(2)]).unwrap();
        write(&path, &[row(3)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "line,reason,customer_id,game_title\n3,no game,1,\"A, \"\"B\"\"\"\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(&directory.path().join("none/x.csv"), &[]).is_err());
    }

    #[test]
    fn the_default_is_in_the_current_directory() {
        assert_eq!(default_path(Path::new("/old/store/ownership.csv")), Path::new("ownership.rejects.csv"));
    }
}
