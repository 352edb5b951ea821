//! An example on the mesh alone: a service of tickets, of which several versions run side by side on one database, and a feed
//! of the newest replies that is told of them and never asks.
//!
//! `gameshelf example tickets` runs it. Each of the two shows what every service shows, its `Config` and `run`; their contract
//! is in [`proto`], for there is no other crate that has it.

pub mod feed;
pub mod proto;
pub mod service;
