//! Addresses that are given once.

use std::sync::Arc;

use super::{Discovery, EndpointStream, Endpoints};
use crate::outbound::Address;

/// Addresses that never change.
#[derive(Clone, Debug)]
pub struct StaticList(Endpoints);

impl StaticList {
    /// A list of these addresses.
    pub fn new(addresses: impl IntoIterator<Item = Address>) -> Self {
        Self(Arc::new(addresses.into_iter().collect()))
    }
}

impl Discovery for StaticList {
    fn endpoints(&self) -> EndpointStream {
        Box::pin(futures_util::stream::iter([self.0.clone()]))
    }
}
