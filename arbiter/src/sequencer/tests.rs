//! What the sequencer promises, on both stores, and what it does when a store goes wrong.

mod harness;
mod model;
mod promises;
mod queue;
mod settling;
