//! The wire: gamelist/v1 turned into queries, and answers into messages.

mod errors;
mod page_token;
mod service;
mod wire;

pub(crate) use service::Service;
pub(crate) use wire::PageSizes;
