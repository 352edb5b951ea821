//! Where addresses come from, as one text of a command line says.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Discovery, DiscoveryConfig, Dns, EndpointFile, StaticList};
use crate::environment::Environment;
use crate::file::FileError;
use crate::outbound::Address;

/// Where the instances of a service are found: `host:port,host:port` is a list, `file:/path` a file with one address on
/// each line, `dns:host:port` a name that stands for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These addresses.
    List(Vec<Address>),
    /// The addresses in a file.
    File(PathBuf),
    /// All addresses behind a name.
    Dns(Address),
}

/// Why a text is not a [`Source`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("instances are found by host:port,host:port, by file:/path, or by dns:host:port")]
pub struct SourceError;

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        let address = |text: &str| text.parse::<Address>().map_err(|_| SourceError);
        if let Some(path) = text.strip_prefix("file:") {
            return if path.is_empty() { Err(SourceError) } else { Ok(Self::File(path.into())) };
        }
        if let Some(name) = text.strip_prefix("dns:") {
            return address(name).map(Self::Dns);
        }
        text.split(',').map(address).collect::<Result<_, _>>().map(Self::List)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(Address::authority).collect();
                formatter.write_str(&addresses.join(","))
            }
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Dns(name) => write!(formatter, "dns:{}", name.authority()),
        }
    }
}

impl Source {
    /// Begins to find them.
    ///
    /// # Errors
    /// When it is a file that cannot be used as it stands.
    pub async fn open(
        &self,
        config: &DiscoveryConfig,
        environment: &Environment,
    ) -> Result<Box<dyn Discovery>, FileError> {
        Ok(match self {
            Self::List(addresses) => Box::new(StaticList::new(addresses.iter().cloned())),
            Self::File(path) => Box::new(EndpointFile::open(path, config.file(), environment).await?),
            Self::Dns(name) => Box::new(Dns::new(name, config.dns(), environment)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_read_and_written() {
        for text in ["a:1", "a:1,[::1]:2", "file:/etc/tickets", "dns:tickets:7000"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for text in ["", ",", "a:1,", "a", "file:", "dns:", "dns:tickets", "dns:a:1,b:2"] {
            assert_eq!(text.parse::<Source>(), Err(SourceError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_read_back(text in "\\PC*") {
            if let Ok(source) = text.parse::<Source>() {
                prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
            }
        }
    }
}
