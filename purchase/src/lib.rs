//! Sells games.
//!
//! An order is on disk before anything else happens. [`run`] serves `gameshelf.purchase.v1` and takes each order to its
//! end: authorize, grant, capture; and void when the grant is refused. Each step has an id that was stored before it.
//!
//! `grpc` parses the wire, `order` decides and knows neither wire nor database, `store` has all SQL, `saga` does the
//! steps, and `clients` ask the payment provider and the arbiter.

mod catalog;
mod clients;
mod config;
mod grpc;
mod metrics;
mod order;
mod purchases;
mod run;
mod saga;
mod store;

pub use config::Config;
pub use run::{RunError, run};
