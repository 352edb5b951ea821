//! How long a command tries to reach who has gone, and how long it waits between two tries.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh::environment::Clock;

/// The patience of one command.
pub(super) struct Patience {
    clock: Arc<dyn Clock>,
    give_up_after: Duration,
    waits: RangeInclusive<Duration>,
    next_wait: Duration,
    failing_since: Option<Instant>,
}

impl Patience {
    /// Waits the shortest time first and twice as long each time, up to the longest; and gives up so long after the first failure in a
    /// row.
    pub(super) fn new(
        clock: &Arc<dyn Clock>,
        give_up_after: Duration,
        waits: RangeInclusive<Duration>,
    ) -> Self {
        let next_wait = *waits.start();
        Self { clock: Arc::clone(clock), give_up_after, waits, next_wait, failing_since: None }
    }

    /// Notes that somebody answered: what fails after this is the first failure in a row.
    pub(super) fn answered(&mut self) {
        (self.next_wait, self.failing_since) = (*self.waits.start(), None);
    }

    /// Waits after a failure, until the next try is due. False at once when it has been in vain for too long.
    pub(super) async fn wait(&mut self) -> bool {
        let now = self.clock.monotonic();
        let since = *self.failing_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.give_up_after {
            return false;
        }
        tokio::time::sleep(self.next_wait).await;
        self.next_wait = (self.next_wait * 2).min(*self.waits.end());
        true
    }
}

#[cfg(test)]
mod tests {
    use mesh::environment::Environment;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn each_wait_is_twice_the_one_before_until_somebody_answers() {
        let mut patience = Patience::new(&Environment::system().clock, Duration::from_mins(1), MS..=3 * MS);
        for next in [2 * MS, 3 * MS, 3 * MS] {
            assert!(patience.wait().await);
            assert_eq!(patience.next_wait, next);
        }
        patience.answered();
        assert_eq!((patience.next_wait, patience.failing_since), (MS, None));
    }

    #[tokio::test]
    async fn what_is_in_vain_for_too_long_is_given_up() {
        let mut patience = Patience::new(&Environment::system().clock, MS, MS..=MS);
        while patience.wait().await {}
        patience.answered();
        assert!(patience.wait().await, "it is patient again");
        let mut none = Patience::new(&Environment::system().clock, Duration::ZERO, MS..=MS);
        assert!(!none.wait().await);
    }
}
