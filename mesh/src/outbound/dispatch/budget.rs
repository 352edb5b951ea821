//! The budget of attempts beyond the first: a share of the calls, so that a service in trouble is not given many times
//! its load by those who try again; and a few a second besides, so that a caller with few calls can try again at all.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::retry::budget::{Budget as _, TpsBudget};

use super::config::DispatchConfig;

/// The time for which a call counts towards the budget.
const TTL: Duration = Duration::from_secs(10);

/// The budget of all calls to one service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Budget(Arc<TpsBudget>);

impl Budget {
    #[expect(clippy::cast_precision_loss, reason = "a number of percent up to 1000 is exact in a float")]
    pub(super) fn new(config: &DispatchConfig) -> Self {
        let share = config.budget_percent as f32 / 100.0;
        Self(Arc::new(TpsBudget::new(TTL, config.budget_per_second, share)))
    }

    /// A call begins.
    pub(super) fn deposit(&self) {
        self.0.deposit();
    }

    /// Whether one more attempt may be made.
    pub(super) fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Budget")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawn(budget: &Budget, calls: u32) -> u32 {
        (0..calls)
            .map(|_| {
                budget.deposit();
                u32::from(budget.withdraw())
            })
            .sum()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_a_fifth_of_the_calls_and_ten_a_second() {
        let budget = Budget::new(&DispatchConfig::default());
        // What ten seconds may take in all stands ready at once.
        let taken = withdrawn(&budget, 1_000);
        assert!((295..=305).contains(&taken), "{taken}");
        // And is there again when they are over.
        tokio::time::advance(Duration::from_secs(11)).await;
        let taken = withdrawn(&budget, 1_000);
        assert!((295..=305).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn over_a_long_time_it_is_not_exceeded() {
        let budget = Budget::new(&DispatchConfig::default());
        let mut taken = 0;
        for _ in 0..1_000 {
            tokio::time::advance(Duration::from_millis(100)).await;
            taken += withdrawn(&budget, 20);
        }
        // 20,000 calls in 100 s.
        assert!(taken <= 20_000 / 5 + 10 * 100 + 100, "{taken}");
        assert!(taken >= 20_000 / 5, "{taken}");
    }
}
