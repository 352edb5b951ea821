#![doc = include_str!("../README.md")]

mod age;
mod backoff;
mod check;
mod event;
mod follow;
mod follower;
mod ledger;
mod memory;
mod metrics;
mod model;
mod options;
mod peer;
mod probe;
mod progress;
mod repair;
mod report;
mod source;
mod status;
mod target;
mod work;

pub use age::{Heard, reached};
pub use follow::{Copy, follow};
pub use memory::Memory;
pub use model::{Batch, Change, Commit, NetChange, Row};
pub use options::{Follow, Options};
pub use peer::Peer;
pub use source::RebuildCause;
pub use status::{DigestState, Figures, Link, Status};
pub use target::Target;
