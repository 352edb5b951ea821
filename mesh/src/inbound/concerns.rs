//! What a service finds unsafe about how it runs, told to whoever asks for a report.

use std::sync::{Arc, Mutex, PoisonError};

use crate::proto::v1;

/// The concerns that are kept; a service knows few kinds of them.
const MAX_CONCERNS: usize = 32;

/// Something that a service finds unsafe about how it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// What it is, for programs, in the form `STORE_UNSAFE`.
    pub reason: String,
    /// What it is, as a sentence.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// The handle by which a service tells of its concerns. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Concerns {
    raised: Arc<Mutex<Vec<Concern>>>,
}

impl Concerns {
    /// Tells of a concern, until it is cleared. There may be several with one reason. The same one twice is one, and beyond 32
    /// one is logged and not kept.
    pub fn raise(&self, concern: Concern) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if raised.contains(&concern) {
            return;
        }
        let is_kept = raised.len() < MAX_CONCERNS;
        tracing::warn!(reason = concern.reason, advice = concern.advice, is_kept, "{}", concern.message);
        if is_kept {
            raised.push(concern);
        }
    }

    /// Takes back all concerns with a reason.
    pub fn clear(&self, reason: &str) {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).retain(|concern| concern.reason != reason);
    }

    pub(super) fn report(&self) -> Vec<v1::Concern> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let told = raised.iter().cloned();
        told.map(|Concern { reason, message, advice }| v1::Concern { reason, message, advice }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern(reason: &str, message: &str) -> Concern {
        Concern { reason: reason.to_owned(), message: message.to_owned(), advice: "mend it".to_owned() }
    }

    #[test]
    fn a_concern_is_told_once_until_it_is_cleared() {
        let concerns = Concerns::default();
        for message in ["fsync is off", "fsync is off", "full_page_writes is off"] {
            concerns.raise(concern("STORE_UNSAFE", message));
        }
        concerns.raise(concern("OTHER", "else"));
        assert_eq!(concerns.report().len(), 3);
        concerns.clear("STORE_UNSAFE");
        assert_eq!(concerns.report().len(), 1);
    }

    #[test]
    fn concerns_are_bounded() {
        let concerns = Concerns::default();
        for number in 0..100 {
            concerns.raise(concern("MANY", &number.to_string()));
        }
        assert_eq!(concerns.report().len(), MAX_CONCERNS);
    }
}
