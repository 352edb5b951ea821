//! What the service of tickets and the feed promise, seen from outside: several versions on one database, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails the test, which is what it should do")]

mod feed;
mod subscriptions;
mod support;
mod versions;
mod writes;
