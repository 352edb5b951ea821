//! What the arbiter is compared with, each written as a careful team would write it.

mod choice;
mod connections;
mod etcd;
mod pgbench;
mod shared;
mod sql;

pub(crate) use choice::{Size, best};
pub(crate) use etcd::{prepare as prepare_etcd, protocol as etcd_protocol};
pub(crate) use pgbench::Pgbench;
pub(crate) use shared::{Arrangement, Shared, Tuning, fill, prepare};
