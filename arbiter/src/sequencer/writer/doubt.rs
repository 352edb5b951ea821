//! Requests of which nobody knows what became of them: their callers were told so, and must not be told anything else before
//! the store says it.

use std::collections::HashSet;

use crate::domain::RequestId;

/// More of them are not told apart: then every request counts as one of them.
const IDS_MAX: usize = 100_000;

/// The requests in doubt, until the store answers again.
#[derive(Debug, Default)]
pub(in crate::sequencer) struct Doubt {
    ids: HashSet<RequestId>,
    more: bool,
}

impl Doubt {
    pub(super) fn add(&mut self, request_id: RequestId) {
        if self.ids.len() < IDS_MAX {
            self.ids.insert(request_id);
        } else {
            self.more = true;
        }
    }

    pub(in crate::sequencer) fn contains(&self, request_id: RequestId) -> bool {
        self.more || self.ids.contains(&request_id)
    }

    /// The store answers: what it has is the truth.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
