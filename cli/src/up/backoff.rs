//! How long to wait before a child that died is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);
/// A child that ran this long did well: its next death is a new matter.
const RAN_WELL: Duration = Duration::from_secs(30);

/// Doubles with each death, up to a limit.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a child that ran for so long.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= RAN_WELL {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_up_to_a_limit_and_begins_anew_after_a_good_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..9).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(RAN_WELL), FIRST);
    }
}
