//! The wire: requests checked and done, and their outcomes as answers.

mod errors;
mod service;
mod subscription;
mod wire;

pub(super) use service::Service;
