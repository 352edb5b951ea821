//! The one edge between the wire and the domain: requests are checked and converted here, answers and errors made.

mod copies;
mod core;
mod cursor;
mod errors;
mod frames;
mod import;
mod paging;
mod reads;
mod refusals;
mod requests;
mod responses;
mod service;
mod watching;

pub(crate) use core::{Core, CoreSlot};
pub(crate) use frames::ArbiterServer;
pub(crate) use import::{ImportLimits, Imports};
pub(crate) use requests::RequestLimits;
pub(crate) use service::ArbiterGrpc;
