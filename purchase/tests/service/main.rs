//! The service in process, between an arbiter and a payment provider that fail on demand.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod arbiter;
mod buying;
mod faults;
mod instances;
mod outages;
mod postgres;
mod provider;
mod refusals;
mod restarts;
mod shop;
mod starting;
mod stored;
mod trace;
