//! Game-list over gRPC, against an arbiter that the test scripts.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod arbiter;
mod follow;
mod freshness;
mod paging;
mod rebuild;
mod start;
mod support;
