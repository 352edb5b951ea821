//! A few bytes beside the database file that tell whether the file is the one that was there before. Whoever restores a backup puts an
//! older file in its place, or puts it where there is none: the tokens of what was lost must not be taken for those of other writes.
//!
//! It holds the epoch of the last process that led, and after an orderly end the newest revision. An older file has less of one of
//! them; one that was copied while that very process ran, and is put back after it was killed, cannot be told from its own, nor one
//! that is put back together with what stood beside it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::domain::Revision;
use crate::store::StoreError;

/// What stands beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) epoch: u64,
    /// 0 while a process leads.
    pub(super) revision: Revision,
}

impl Witness {
    /// Whether a file that was led up to an epoch, and has this newest revision, may have been put in the place of the one that was seen.
    pub(super) fn doubts(seen: Option<Self>, epoch: u64, revision: Revision) -> bool {
        match seen {
            Some(seen) => epoch < seen.epoch || revision < seen.revision,
            // Nobody has led a store that is new.
            None => epoch > 0,
        }
    }

    /// What stands beside a database file; none where nothing does, or nothing that makes sense.
    pub(super) fn read(database: &Path) -> Option<Self> {
        let text = fs::read_to_string(path(database)).ok()?;
        let (epoch, revision) = text.trim().split_once(' ')?;
        Some(Self { epoch: epoch.parse().ok()?, revision: revision.parse().ok()? })
    }

    /// Puts it beside a database file, for good.
    pub(super) async fn write(self, database: &Path) -> Result<(), StoreError> {
        let database = database.to_owned();
        let written = tokio::task::spawn_blocking(move || self.put(&database)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| StoreError::Failed(sqlx::Error::Io(error)))
    }

    fn put(self, database: &Path) -> io::Result<()> {
        let path = path(database);
        let new = path.with_extension("witness-new");
        let mut file = File::create(&new)?;
        writeln!(file, "{} {}", self.epoch, self.revision)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // The name is durable once its directory is.
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".witness");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_file_is_doubted_and_the_same_one_is_not() {
        let running = Some(Witness { epoch: 4, revision: 0 });
        let ended = Some(Witness { epoch: 4, revision: 70 });
        assert!(!Witness::doubts(running, 4, 50) && !Witness::doubts(ended, 4, 70));
        assert!(!Witness::doubts(running, 6, 50), "it led again, and was killed before it was noted");
        assert!(
            Witness::doubts(running, 3, 50) && Witness::doubts(ended, 3, 50),
            "from before its last start"
        );
        assert!(Witness::doubts(ended, 4, 69), "from before its end");
        assert!(Witness::doubts(None, 1, 50) && !Witness::doubts(None, 0, 0), "only a new store has none");
    }

    #[tokio::test]
    async fn it_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("store.sqlite");
        assert_eq!(Witness::read(&database), None);
        for (epoch, revision) in [(1, 0), (1, 12)] {
            Witness { epoch, revision }.write(&database).await.unwrap();
            assert_eq!(Witness::read(&database), Some(Witness { epoch, revision }));
        }
        fs::write(path(&database), "spoilt").unwrap();
        assert_eq!(Witness::read(&database), None);
    }
}
