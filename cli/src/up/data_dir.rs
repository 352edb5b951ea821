//! The data directory, held by one `up` at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit::{Failure, Kind};

const LOCK: &str = "up.lock";
const PAUSE: Duration = Duration::from_millis(20);

/// A data directory that is ours. The lock ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, and takes it, waiting a little for another `up` that is ending.
    ///
    /// # Errors
    ///
    /// When another process keeps it, or it cannot be made.
    pub(crate) async fn take(path: &Path, wait: Duration) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::new(
                Kind::BadInput,
                "DATA_DIR",
                format!("the data directory {}: {error}", path.display()),
            )
            .hint("choose another one with --data-dir")
        };
        // As it was given: children work in the same directory, and a person reads what they wrote.
        let path = path.to_owned();
        fs::create_dir_all(path.join("logs")).map_err(cannot)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path.join(LOCK));
        let mut lock = lock.map_err(cannot)?;
        let what = format!("the data directory {} to become free", path.display());
        match super::wait_aloud(wait, &what, lock_when_free(&lock)).await {
            Ok(locked) => locked.map_err(cannot)?,
            Err(_) => return Err(in_use(&path, &mut lock)),
        }
        // Whom to blame, for the message of another one; only text for people, so not worth failing for.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Writes a file into the directory, whole or not at all, unless it is there with this content.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(path);
        }
        let partial = self.path.join(format!("{name}.partial"));
        fs::write(&partial, content)?;
        fs::rename(&partial, &path)?;
        Ok(path)
    }
}

async fn lock_when_free(file: &File) -> io::Result<()> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn in_use(path: &Path, lock: &mut File) -> Failure {
    let mut pid = String::new();
    // Without it the message is the poorer, and still right.
    let _ = lock.read_to_string(&mut pid);
    let by = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
    let message = format!("the data directory {} is in use by another gameshelf up{by}", path.display());
    Failure::new(Kind::BadInput, "DATA_DIR_IN_USE", message)
        .with("data_dir", path.display())
        .hint("end that one, or choose another directory with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_is_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/data");
        let taken = DataDir::take(&path, Duration::ZERO).await.unwrap();
        assert!(taken.logs().is_dir());
        let failure = DataDir::take(&path, Duration::ZERO).await.unwrap_err();
        assert_eq!(failure.reason(), "DATA_DIR_IN_USE");
        assert!(failure.to_string().contains(&std::process::id().to_string()), "{failure}");
        drop(taken);
        DataDir::take(&path, Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = DataDir::take(file.path(), Duration::ZERO).await.unwrap_err();
        assert_eq!(failure.kind(), Kind::BadInput);
    }
}
