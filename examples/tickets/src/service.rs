//! The service of tickets: what it takes is on disk before it answers, and whatever version takes it, every version has it.
//!
//! The way of a call: `grpc` reads it and checks every field → `store` does it in one transaction of the shared database → the
//! answer after the commit. `news` looks for what other instances committed, and wakes the subscriptions.

mod build;
mod config;
mod grpc;
mod news;
mod run;
mod store;

pub use build::Build;
pub use config::Config;
pub use run::{RunError, run};
