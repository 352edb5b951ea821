//! What is measured, and what it needs: child processes that end with this one.

mod arbiter;
mod child;
mod collector;
mod etcd;
mod game_list;
mod noop;
mod postgres;
mod process;
mod script;

pub(crate) use arbiter::{Arbiter, ArbiterArguments, GRANT, Store, cause, grant, protocol};
pub(crate) use child::Telemetry;
pub(crate) use etcd::Etcd;
pub(crate) use game_list::{GameList, GameListArguments};
pub(crate) use noop::{NAME as NOOP, Noop, NoopArguments, Runtime, Stack, serve as serve_noop};
pub(crate) use postgres::{Database, Postgres};
pub(crate) use process::{Process, Usage};
pub(crate) use script::programs_of_postgres;
