//! The wire: payment/v1 turned into commands for the books, and their outcomes into answers.

mod errors;
mod service;
mod wire;

pub(crate) use service::Service;
