//! Game-list over gRPC, against an arbiter that the test scripts.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

/// The same tests over both ways to follow the arbiter.
macro_rules! on_both_ways {
    ($($(#[$documentation:meta])* async fn $name:ident($follow:ident: &str) $body:block)+) => {$(
        $(#[$documentation])*
        mod $name {
            use super::*;

            async fn run($follow: &str) $body

            #[tokio::test]
            async fn by_stream() {
                Box::pin(run("--follow=stream")).await;
            }

            #[tokio::test]
            async fn by_poll() {
                Box::pin(run("--follow=poll")).await;
            }
        }
    )+};
}

#[path = "../../../copy/tests/fake/arbiter.rs"]
mod arbiter;
mod catalogue;
mod causality;
mod check;
mod follow;
mod freshness;
mod metrics;
mod paging;
mod purchase;
mod rebuild;
mod start;
mod support;
mod watch;
