//! The contract of Gameshelf in Rust.
//!
//! It holds what every service and client must agree on, and nothing of any one of them: the stubs generated
//! from `proto/` ([`proto`]), ids ([`ids`]), freshness tokens ([`tokens`]), the one way to build and read an
//! error ([`errors`]), the collector of bad fields ([`fields`]), the digests by which copies are compared ([`digest`]), the
//! catalogue's file format ([`catalog`]), the services' names ([`services`]) and the versions of the contract ([`packages`]).
//! No database and no network is used here.

pub mod catalog;
pub mod digest;
pub mod errors;
pub mod fields;
pub mod ids;
pub mod lines;
pub mod packages;
pub mod proto;
pub mod services;
pub mod tokens;
