//! A file whose parsed value is kept up to date: swapped whole when the file changes, kept as it was when the new
//! content cannot be used, which is told with the reason.
//!
//! The file is looked at by an interval: its time of change, its length and its inode say whether it has to be read
//! again. That works on every file system, also where a file is mounted into a container and replaced from outside.
//! What is read is parsed on a thread of its own, so that a large file holds nothing up.

mod meters;

use std::fmt::{self, Display};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::environment::{Clock, Environment};
use meters::Meters;

/// File systems count the time of change in steps of up to two seconds: within them a second change may look like none.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How a file is watched.
#[derive(Clone, Copy, Debug)]
pub struct FileConfig {
    /// Time between two looks at the file, in milliseconds.
    pub interval_ms: u64,
    /// The largest file that is read.
    pub max_bytes: u64,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self { interval_ms: 1_000, max_bytes: 4 * 1024 * 1024 }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is over the limit.
    #[error("{path} is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// The parser refuses it.
    #[error("{path} is not valid: {why}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
}

/// The value of a file, and what is wrong with the file as it stands now.
pub struct Snapshot<T> {
    value: Arc<T>,
    trouble: Option<Arc<str>>,
}

impl<T> Snapshot<T> {
    /// The value of the file when it was valid last.
    #[must_use]
    pub fn value(&self) -> &Arc<T> {
        &self.value
    }

    /// Why the file as it stands now is not used; none while the value is the file's.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), trouble: self.trouble.clone() }
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Snapshot").field("trouble", &self.trouble).finish_non_exhaustive()
    }
}

/// A file that is watched until the last clone is dropped.
pub struct Watched<T> {
    snapshots: watch::Receiver<Snapshot<T>>,
    task: Arc<AbortOnDropHandle<()>>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { snapshots: self.snapshots.clone(), task: self.task.clone() }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file and goes on watching it.
    ///
    /// # Errors
    /// When the file cannot be used as it stands: there is no older value to keep.
    pub async fn open<E: Display + 'static>(
        path: impl Into<PathBuf>,
        config: FileConfig,
        environment: &Environment,
        parse: impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let path = path.into();
        let mut meters = Meters::new(&path, environment.clock.clone());
        let mut reader =
            Reader { path, config, clock: environment.clock.clone(), seen: None, content: Arc::default() };
        let parse = Arc::new(parse);
        reader.read().await?;
        let value = parsed(&parse, &reader).await?;
        meters.good();
        let (sender, snapshots) = watch::channel(Snapshot { value: Arc::new(value), trouble: None });
        let task = tokio::spawn(keep(reader, parse, sender, meters));
        Ok(Self { snapshots, task: Arc::new(AbortOnDropHandle::new(task)) })
    }

    /// The value as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.snapshots.borrow().value.clone()
    }

    /// The value and what is wrong with the file as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        self.snapshots.borrow().clone()
    }

    /// Waits for the next change of the value or of what is wrong with the file, and returns both.
    pub async fn changed(&mut self) -> Snapshot<T> {
        // The task that sends lives as long as this does.
        if self.snapshots.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.snapshots.borrow_and_update().clone()
    }
}

/// Parses what was read, on a thread where it may take its time.
async fn parsed<T: Send + 'static, E: Display + 'static>(
    parse: &Arc<impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static>,
    reader: &Reader,
) -> Result<T, FileError> {
    let (parse, content) = (parse.clone(), reader.content.clone());
    let parsing = tokio::task::spawn_blocking(move || parse(&content).map_err(|why| why.to_string()));
    // A parser that panics refuses the file, and the value from before stays.
    let parsed = parsing.await.unwrap_or_else(|_| Err("its parser failed".to_owned()));
    parsed.map_err(|why| FileError::Invalid { path: reader.path.clone(), why })
}

async fn keep<T: Send + 'static, E: Display + 'static>(
    mut reader: Reader,
    parse: Arc<impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static>,
    sender: watch::Sender<Snapshot<T>>,
    mut meters: Meters,
) {
    loop {
        tokio::time::sleep(Duration::from_millis(reader.config.interval_ms)).await;
        let next = match reader.read().await {
            Ok(false) => None,
            Ok(true) => Some(parsed(&parse, &reader).await),
            Err(error) => Some(Err(error)),
        };
        match next {
            None => {}
            Some(Ok(value)) => {
                tracing::info!(path = %reader.path.display(), "the file has changed and is used");
                sender.send_replace(Snapshot { value: Arc::new(value), trouble: None });
            }
            Some(Err(error)) => tell(&sender, &error.to_string()),
        }
        if sender.borrow().trouble.is_none() {
            meters.good();
        } else {
            meters.bad();
        }
    }
}

/// Says what is wrong, once for each thing that is.
fn tell<T>(sender: &watch::Sender<Snapshot<T>>, why: &str) {
    sender.send_if_modified(|snapshot| {
        let is_new = snapshot.trouble.as_deref() != Some(why);
        if is_new {
            tracing::warn!(why, "the file is not used, what it said before is kept");
            snapshot.trouble = Some(Arc::from(why));
        }
        is_new
    });
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

/// The file, and what was read of it last.
struct Reader {
    path: PathBuf,
    config: FileConfig,
    clock: Arc<dyn Clock>,
    /// None when the file has to be read again whatever it looks like.
    seen: Option<Stamp>,
    content: Arc<Vec<u8>>,
}

impl Reader {
    /// Whether the file has another content than before; it is in `content` then.
    async fn read(&mut self) -> Result<bool, FileError> {
        let first = self.seen.is_none() && self.content.is_empty();
        let result = self.look().await;
        if result.is_err() {
            // When it can be read again, it is new, even with the content it had.
            self.seen = None;
            self.content = Arc::default();
        }
        result.map(|changed| changed || first)
    }

    async fn look(&mut self) -> Result<bool, FileError> {
        let limit_bytes = self.config.max_bytes;
        let failed = |error| FileError::Read { path: self.path.clone(), error };
        let metadata = tokio::fs::metadata(&self.path).await.map_err(failed)?;
        let stamp = Stamp {
            modified: metadata.modified().map_err(failed)?,
            bytes: metadata.len(),
            inode: metadata.ino(),
        };
        if self.seen == Some(stamp) {
            return Ok(false);
        }
        let file = tokio::fs::File::open(&self.path).await.map_err(failed)?;
        let mut content = Vec::new();
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut content).await.map_err(failed)?;
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > limit_bytes {
            return Err(FileError::TooLarge { path: self.path.clone(), limit_bytes });
        }
        let age = self.clock.wall().duration_since(stamp.modified).unwrap_or_default();
        self.seen = (age > SETTLED_AFTER).then_some(stamp);
        let changed = content != *self.content;
        self.content = Arc::new(content);
        Ok(changed)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
