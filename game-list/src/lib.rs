//! Shows customers their games from a local copy that knows its age.
//!
//! The crate `copy` follows the arbiter, `kept` says where the rows go, `store` has all of the SQL, `freshness` decides whether the
//! copy is fresh enough for an answer, `list` answers from it or asks the `arbiter`, `watch` streams from it, `catalogue` has the titles, of a file
//! or of `purchase`, and `grpc` is the wire. With the
//! arbiter down it still answers from the copy, and says how old that is.

mod arbiter;
mod catalogue;
mod config;
mod freshness;
mod grpc;
mod hub;
mod kept;
mod list;
mod metrics;
mod model;
mod purchase;
mod run;
mod store;
mod watch;

pub use config::Config;
pub use run::{RunError, run};
