//! Follows the arbiter: keeps the local copy by Watch, and knows how old it is.

mod age;
mod backoff;
mod event;
mod follower;
mod probe;
mod progress;
mod status;
mod stream;
mod work;

pub(crate) use follower::{Follower, FollowerOptions};
pub(crate) use probe::{Prober, ProberOptions};
pub(crate) use status::{Figures, Status};
