//! How long a request id is known, and which ones are refused because they may have been forgotten.

use crate::domain::RequestId;

use super::SubmitError;

/// A version 7 id may be from this far ahead of the arbiter's clock.
const AHEAD_MAX_MS: u64 = 5 * 60 * 1000;

/// For how long outcomes are kept, and from when on they surely are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) retention_ms: u64,
    /// Ids of a time before this one may have been forgotten. It only rises.
    pub(super) mark_ms: u64,
}

impl Retention {
    /// Refuses an id that could have a second effect. Only version 7 tells its time (RFC 9562, section 5.7); of any other
    /// version nobody can say how old it is.
    pub(super) fn check(&self, request_id: RequestId, now_ms: u64) -> Result<(), SubmitError> {
        let Some(made_at_ms) = request_id.unix_ms() else { return Ok(()) };
        if made_at_ms < self.mark_ms || made_at_ms.saturating_add(self.retention_ms) < now_ms {
            return Err(SubmitError::RequestIdExpired { retention_ms: self.retention_ms });
        }
        if made_at_ms > now_ms.saturating_add(AHEAD_MAX_MS) {
            return Err(SubmitError::RequestIdAhead { limit_ms: AHEAD_MAX_MS });
        }
        Ok(())
    }

    /// The mark that the time allows now: ids from before it are refused already.
    pub(super) fn next_mark_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.retention_ms).max(self.mark_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_ms: u64) -> RequestId {
        RequestId::new_v7(unix_ms, [7; 10])
    }

    #[test]
    fn an_id_is_good_from_five_minutes_before_its_time_until_the_retention_is_over() {
        let retention = Retention { retention_ms: 1_000_000, mark_ms: 0 };
        let expired = Err(SubmitError::RequestIdExpired { retention_ms: 1_000_000 });
        let ahead = Err(SubmitError::RequestIdAhead { limit_ms: 300_000 });
        let made = 10_000_000;
        assert_eq!(retention.check(at(made), made - 300_001), ahead);
        assert_eq!(retention.check(at(made), made - 300_000), Ok(()));
        assert_eq!(retention.check(at(made), made + 1_000_000), Ok(()));
        assert_eq!(retention.check(at(made), made + 1_000_001), expired);
    }

    #[test]
    fn an_id_from_before_the_mark_is_refused_though_the_clock_went_back() {
        let mut retention = Retention { retention_ms: 1_000, mark_ms: 0 };
        retention.mark_ms = retention.next_mark_ms(5_000);
        assert_eq!(retention.mark_ms, 4_000);
        assert!(retention.check(at(3_999), 4_100).is_err());
        assert_eq!(retention.next_mark_ms(100), 4_000, "the mark only rises");
    }

    #[test]
    fn an_id_of_another_version_has_no_time() {
        let retention = Retention { retention_ms: 1, mark_ms: u64::MAX };
        let random = uuid::Builder::from_random_bytes([9; 16]).into_uuid();
        assert_eq!(retention.check(random.into(), 1_000_000), Ok(()));
    }
}
