//! Where a peer is.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// A peer's address: `host:port` or `http://host:port`. It is a plain HTTP/2 address; nothing is resolved yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, with an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.authority())
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::from((address.ip(), address.port()))
    }
}

impl From<(std::net::IpAddr, u16)> for Address {
    fn from((ip, port): (std::net::IpAddr, u16)) -> Self {
        Self { host: ip.to_string(), port }
    }
}

/// Why a text is not an [`Address`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an address is host:port or http://host:port, and nothing after it")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let uri: Uri = format!("http://{authority}/").parse().map_err(|_| AddressError)?;
        let parsed = uri.authority().ok_or(AddressError)?;
        if parsed.as_str() != authority || authority.contains('@') {
            return Err(AddressError);
        }
        let port = parsed.port_u16().filter(|port| *port != 0).ok_or(AddressError)?;
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(AddressError);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        for text in ["arbiter:7400", "http://arbiter:7400", "http://arbiter:7400/"] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), ("arbiter", 7400));
            assert_eq!(address.to_string(), "http://arbiter:7400");
        }
        let address: Address = "[::1]:7400".parse().unwrap();
        assert_eq!((address.host(), address.to_string()), ("::1", "http://[::1]:7400".to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "arbiter",
            ":7400",
            "arbiter:0",
            "arbiter:99999",
            "https://arbiter:1",
            "a:1/x",
            "u@a:1",
            "a:1?x",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_read_back(text in "\\PC*") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
