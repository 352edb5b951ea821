//! The feed of the newest replies. It is told of them by Subscribe and never asks: while it cannot be told, it goes on with what it
//! has, and afterwards with what came after that.

mod config;
mod follow;
mod grpc;
mod hub;
mod kept;
mod run;

pub use config::Config;
pub use run::{RunError, run};
