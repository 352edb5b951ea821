//! The contract of Gameshelf in Rust.
//!
//! It holds what every service and client must agree on, and nothing of any one of them: the stubs generated
//! from `proto/` ([`proto`]), ids ([`ids`]), freshness tokens ([`tokens`]), the one way to build and read an
//! error ([`errors`]), the collector of bad fields ([`fields`]), the digests by which copies are compared ([`digest`]) and the
//! catalogue's file format ([`catalog`]).
//! No database and no network is used here.

pub mod catalog;
pub mod digest;
pub mod errors;
pub mod fields;
pub mod ids;
pub mod lines;
pub mod proto;
pub mod tokens;
