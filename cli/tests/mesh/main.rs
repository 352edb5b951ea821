//! The whole mesh, tested from outside: the executable is started as a person starts it, and killed as things are killed.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails the test, which is what it should do")]

mod bad_input;
mod causality;
mod checking;
mod commits;
mod copies;
mod dependencies;
mod descriptions;
mod durability;
mod editions;
mod exporting;
mod harness;
mod history;
mod importing;
mod linearizability;
mod other_languages;
mod outages;
mod postgres;
mod purchases;
mod seeing;
mod supervision;
mod traces;
