//! What both ends of a connection have in common. Calls stand on h2 itself at both ends, and not on a client or server above it: a
//! call then passes between its own task and that of the connection, and through no queue or task in between.

mod pings;
mod pipe;
mod received;

pub(crate) use pings::unanswered;
pub(crate) use pipe::Pipe;
pub(crate) use received::Received;
