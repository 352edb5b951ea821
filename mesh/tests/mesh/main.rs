//! What the mesh promises, seen from outside: a tiny service over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod back_again;
mod calls;
mod causal;
mod cluster;
mod connections;
mod drain;
mod fallback;
mod faults;
mod limits;
mod metrics;
mod outages;
mod process;
mod reports;
mod serving;
mod simulation;
mod storms;
mod streams;
mod support;
mod traces;
mod versions;
