//! All SQL of the service. The seam is [`Store`]; SQLite and PostgreSQL stand behind it, and one suite of tests runs
//! against both.

mod error;
mod open;
mod row;
mod sql;
#[cfg(test)]
mod suite;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use gameshelf::ids::{OrderId, RequestId};

use crate::order::Order;

pub(crate) use error::StoreError;
pub(crate) use open::open;

/// A store that is open.
pub(crate) type SharedStore = Arc<dyn Store>;

/// Where the orders are kept.
///
/// Each call is one statement and takes a bounded time. A write that is cancelled may or may not have happened.
#[async_trait]
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Writes a new order, unless there is one of the same request. Says whether it was written; when it was, it is on
    /// disk.
    async fn insert(&self, order: &Order, at_unix_ms: u64) -> Result<bool, StoreError>;

    /// Writes what became of an order, if it still has the version before that of `order`. Says whether it was
    /// written; when it was, it is on disk.
    async fn update(&self, order: &Order, at_unix_ms: u64) -> Result<bool, StoreError>;

    /// The order with this id.
    async fn by_id(&self, order_id: OrderId) -> Result<Option<Order>, StoreError>;

    /// The order that was made by this request.
    async fn by_request(&self, request_id: RequestId) -> Result<Option<Order>, StoreError>;

    /// At most `limit` orders that are not at their end, by growing id, those after `after`.
    async fn unfinished(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<OrderId>, StoreError>;

    /// Closes every connection, and lets an embedded database go.
    async fn close(&self);
}
