//! The one edge between the wire and the domain: requests are checked and converted here, answers and errors made.

mod errors;
mod paging;
mod requests;
mod responses;
mod service;

pub(crate) use requests::RequestLimits;
pub(crate) use service::{ArbiterGrpc, Core, CoreSlot};
