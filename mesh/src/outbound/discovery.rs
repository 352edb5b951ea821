//! Where the instances of a service are: a set of addresses that changes with time.

mod config;
mod dns;
mod file;
mod list;
mod source;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;

pub use config::DiscoveryConfig;
pub use dns::{Dns, DnsConfig};
pub use file::{EndpointFile, EndpointFileError};
pub use list::StaticList;
pub use source::{Source, SourceError};

use super::Address;

/// The addresses of a service's instances.
pub type Endpoints = Arc<BTreeSet<Address>>;

/// The set as it is now, and then each set that takes its place.
pub type EndpointStream = Pin<Box<dyn Stream<Item = Endpoints> + Send>>;

/// What knows where the instances of a service are. Whether they are there, well and of the right version is found out
/// by asking them.
pub trait Discovery: Send + Sync + Debug {
    /// The set as soon as it is known, and each later one. A stream that ends says that its last set stays.
    fn endpoints(&self) -> EndpointStream;
}
