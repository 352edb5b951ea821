//! A payment provider for trying and testing, which keeps its books on disk.
//!
//! It answers payment/v1. The prefix of the payment token says how it behaves towards a payment: `approve` (like any
//! other token), `decline`, `slow` (answers late) or `lose` (does the work, then answers UNAVAILABLE). Late and lost is
//! only the answer to the first call under an id; a repeat is answered at once. Every outcome is on disk before it is
//! answered, and a repeat of a call returns the first outcome.
//!
//! The way of a call: `grpc` parses it into a command → `books` queues it → `ledger` decides → `store` writes, one
//! transaction for all that waits → the answer after the commit.

mod behavior;
mod books;
mod config;
mod grpc;
mod ledger;
mod run;
mod store;

pub use config::Config;
pub use run::{RunError, run};
