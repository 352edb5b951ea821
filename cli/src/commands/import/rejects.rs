//! Writes the file of rejected rows.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::rows::Rejected;

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;

/// Where the rejects of a file go when nobody says: into the current directory, not beside a file that may be in a
/// place that is not ours to write to.
pub(super) fn default_path(import: &Path) -> PathBuf {
    let mut name = import.file_stem().map_or_else(|| OsString::from("import"), OsString::from);
    name.push(".rejects.csv");
    PathBuf::from(name)
}

/// Whether both paths lead to one file that exists, by whatever names.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (fs::metadata(one), fs::metadata(other));
    one.ok().zip(other.ok()).is_some_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Writes the rows, so that the file has all of them or stays as it was. Without rows it has only its header: a file
/// of an earlier import must not be taken for one of this. A symbolic link stays, and what it leads to is written;
/// what is no regular file, such as a device, is written in place.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn write(path: &Path, rejected: &[Rejected]) -> io::Result<()> {
    let path = match fs::metadata(path) {
        Ok(there) if !there.is_file() || is_descriptor(path) => {
            return write_rows(OpenOptions::new().append(true).open(path)?, rejected).map(drop);
        }
        Ok(_) => fs::canonicalize(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => end_of_links(path)?,
        Err(error) => return Err(error),
    };
    let name = path.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
    let mut partial = name.to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(partial);
    let written = File::create(&partial)
        .and_then(|file| write_rows(file, rejected)?.sync_all())
        .and_then(|()| fs::rename(&partial, &path));
    if written.is_err() {
        // What is left of it is of no use; that it may not even exist is no further failure.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Whether it is a name of what we have open, such as `/dev/stdout`: a file behind it must not be replaced, because
/// what else is printed goes there too.
fn is_descriptor(path: &Path) -> bool {
    let names = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];
    names.iter().any(|name| path.starts_with(name))
}

/// Where a path that leads to no file yet leads to.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            // What a link names is relative to the link; an absolute name stands for itself.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn write_rows(file: File, rejected: &[Rejected]) -> io::Result<File> {
    let mut writer = csv::Writer::from_writer(file);
    writer.write_record(["line", "reason", "customer_id", "game_title"])?;
    for row in rejected {
        writer.write_record([&row.line.to_string(), &row.reason, &row.customer_id, &row.game_title])?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
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
    fn a_link_stays_and_leads_to_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("link.csv"), directory.path().join("target.csv"));
        std::os::unix::fs::symlink("target.csv", &link).unwrap();
        for line in [1, 2] {
            write(&link, &[row(line)]).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(fs::read_to_string(&target).unwrap().contains(&format!("\n{line},no game")));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_regular_file_is_written_in_place() {
        // A link of our own, so that a defect does not replace the machine's device.
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write(&link, &[row(1)]).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/dev/null"));
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert!(write(directory.path(), &[]).is_err(), "a directory is no place for rows");
    }

    #[test]
    fn a_file_that_is_open_already_is_written_in_place() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"before\n").unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(file.as_file());
        write(Path::new(&format!("/proc/self/fd/{descriptor}")), &[]).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "before\nline,reason,customer_id,game_title\n");
    }

    #[test]
    fn a_file_is_the_same_by_any_name() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, hard, other] =
            ["file", "link", "hard", "other"].map(|name| directory.path().join(name));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        fs::hard_link(&file, &hard).unwrap();
        for name in [&file, &link, &hard, &directory.path().join("./file")] {
            assert!(is_same_file(name, &file), "{}", name.display());
        }
        assert!(!is_same_file(&other, &file));
        assert!(!is_same_file(&directory.path().join("none"), &file));
    }

    #[test]
    fn the_default_is_in_the_current_directory() {
        assert_eq!(default_path(Path::new("/old/store/ownership.csv")), Path::new("ownership.rejects.csv"));
    }
}
