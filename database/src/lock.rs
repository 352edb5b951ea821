//! A lock on the file of an embedded database.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Holds a database file for one process.
///
/// It is an advisory lock (`flock`) on a file beside the database, so it ends with the process however that ends, and
/// nothing has to be cleaned up.
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
        let path = lock_path(database);
        let failed = |error: std::io::Error| OpenError::Failed(format!("{}: {error}", path.display()));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(database.display().to_string())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
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
}
