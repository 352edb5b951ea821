//! What the sequencer promises, on both stores, and what it does when a store goes wrong.

mod causes;
mod copies;
mod every_read;
mod harness;
mod identity;
mod imports;
mod limited;
mod limits;
mod model;
mod promises;
mod queue;
mod reads;
mod settling;
mod speculation;
