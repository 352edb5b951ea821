//! The arbiter: the only way to the data that says which customer owns which game.
//!
//! It serializes every write into one transactional store, and gives each reader the freshness it needs. The public face
//! is [`Config`] and [`run`]; everything else is private, the store above all: what no crate can see, no crate can touch.

mod cache;
mod config;
mod copies;
mod digests;
mod domain;
mod grpc;
mod leadership;
mod run;
mod sequencer;
mod store;
mod watch;

pub use config::Config;
pub use run::{RunError, run};
