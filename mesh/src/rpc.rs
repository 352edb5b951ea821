//! What both stacks need to know of a call: its name and its outcome.
