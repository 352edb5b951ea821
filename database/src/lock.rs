//! A lock on the file of an embedded database.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Holds a database file for one process.
///
/// It is an advisory lock (`flock`) on a file beside the database, so it ends with the process however that ends, and
/// nothing has to be cleaned up. It is beside the file itself, also where that is named by a symbolic link.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the database file `database`, without waiting.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] when another process, or another part of this one, holds it; [`OpenError::Failed`] when the lock file
    /// cannot be made.
    pub fn take(database: &Path) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Failed(format!("{}: {error}", database.display()));
        let path = lock_path(&resolve(database).map_err(failed)?);
        let failed = |error: io::Error| OpenError::Failed(format!("{}: {error}", path.display()));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(database.display().to_string())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The file that a path names, by whatever links, also where it is still to be made.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => resolve(&directory.join(target)),
            Err(_) => Ok(directory.canonicalize()?.join(path.file_name().unwrap_or_default())),
        },
        resolved => resolved,
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("data.sqlite");
        let first = Lock::take(&database).unwrap();
        assert!(matches!(Lock::take(&database), Err(OpenError::Locked(_))));
        drop(first);
        assert!(Lock::take(&database).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_one_lock_whatever_it_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link.sqlite"));
        fs::create_dir(&real).unwrap();
        let database = real.join("data.sqlite");
        std::os::unix::fs::symlink("real/../also.sqlite", &link).unwrap();
        std::os::unix::fs::symlink("real/data.sqlite", directory.path().join("also.sqlite")).unwrap();
        for _ in 0..2 {
            let names = [database.clone(), link.clone(), real.join("../real/data.sqlite")];
            for first in &names {
                let _first = Lock::take(first).unwrap();
                for second in &names {
                    assert!(
                        matches!(Lock::take(second), Err(OpenError::Locked(_))),
                        "{second:?} after {first:?}"
                    );
                }
            }
            // The same once there is something.
            fs::write(&database, "").unwrap();
        }
    }
}
