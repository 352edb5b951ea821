//! Addresses in a file, read again when it changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;

use super::{Discovery, EndpointStream, Endpoints};
use crate::environment::Environment;
use crate::file::{FileConfig, FileError, Watched};
use crate::outbound::Address;

/// A file with one address on each line. Empty lines, and lines that begin with `#`, count for nothing. A file that is
/// not valid, or names no address, keeps the addresses that were there before.
#[derive(Clone, Debug)]
pub struct EndpointFile(Watched<Endpoints>);

/// Why a file is no list of addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointFileError {
    /// It is not text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// A line is not an address.
    #[error("line {line} is not an address: an address is host:port or http://host:port")]
    Line {
        /// The line's number, from 1.
        line: usize,
    },
    /// It names none. A file that is cut while it is written looks so, and would take every instance away.
    #[error("it names no address")]
    Empty,
}

impl EndpointFile {
    /// Reads the file and watches it until the last clone, and the last stream of it, is dropped.
    ///
    /// # Errors
    /// When the file cannot be used as it stands.
    pub async fn open(
        path: impl Into<PathBuf>,
        config: FileConfig,
        environment: &Environment,
    ) -> Result<Self, FileError> {
        Ok(Self(Watched::open(path, config, environment, parse).await?))
    }

    /// Why the file as it stands now is not used; none while the addresses are the file's.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.snapshot().trouble().map(str::to_owned)
    }
}

impl Discovery for EndpointFile {
    fn endpoints(&self) -> EndpointStream {
        let now = futures_util::stream::iter([(*self.0.current()).clone()]);
        let later = futures_util::stream::unfold(self.0.clone(), |mut watched| async move {
            let snapshot = watched.changed().await;
            Some(((**snapshot.value()).clone(), watched))
        });
        Box::pin(now.chain(later))
    }
}

fn parse(content: &[u8]) -> Result<Endpoints, EndpointFileError> {
    let text = std::str::from_utf8(content).map_err(|_| EndpointFileError::NotText)?;
    let addresses = text
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| line.parse().map_err(|_| EndpointFileError::Line { line: index + 1 }))
        .collect::<Result<BTreeSet<Address>, _>>()?;
    if addresses.is_empty() { Err(EndpointFileError::Empty) } else { Ok(Arc::new(addresses)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_line_is_an_address() {
        let endpoints = parse(b"# ours\n\n a:1 \nhttp://b:2\na:1\n").unwrap();
        assert_eq!(
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["http://a:1", "http://b:2"]
        );
        assert_eq!(parse(b"a:1\nb\n"), Err(EndpointFileError::Line { line: 2 }));
        assert_eq!(parse(b"# none\n"), Err(EndpointFileError::Empty));
        assert_eq!(parse(b"\xff"), Err(EndpointFileError::NotText));
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_a_bad_one_keeps_the_old_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints");
        fs::write(&path, "a:1").unwrap();
        let config = FileConfig { interval_ms: 5, ..FileConfig::default() };
        let file = EndpointFile::open(&path, config, &Environment::system()).await.unwrap();
        let replace = |content| {
            fs::write(folder.path().join("next"), content).unwrap();
            fs::rename(folder.path().join("next"), &path).unwrap();
        };
        let mut sets = file.endpoints();
        let mut next = async || {
            let set = tokio::time::timeout(std::time::Duration::from_secs(20), sets.next()).await.unwrap();
            set.unwrap().iter().map(Address::port).collect::<Vec<_>>()
        };
        assert_eq!(next().await, [1]);
        replace("a:1\nb:2");
        assert_eq!(next().await, [1, 2]);
        replace("a:1\nnowhere");
        assert_eq!(next().await, [1, 2]);
        assert!(file.trouble().unwrap().contains("line 2"));
    }
}
