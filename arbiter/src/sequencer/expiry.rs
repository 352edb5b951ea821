//! Ends what ends by itself: ownerships for a time, and reservations. Each is a commit like any other, at the beginning of a
//! batch, so that every request of the batch is decided on what is left.

use std::time::Duration;

use mesh::environment::Random;
use std::sync::Arc;

use super::batch::OwnItem;
use crate::domain::{Cause, Command, Effects, Operation, Reason, RequestId};
use crate::store::{SharedStore, StoreError};

/// How long to leave alone what the store did not take.
const PUT_OFF_MS: u64 = 1_000;

/// The clock may be set while nobody asks: it is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Knows when the next thing ends by itself.
#[derive(Debug)]
pub(super) struct Expiry {
    next_due_ms: Option<u64>,
    /// Until then it is left alone, since the store did not take it.
    not_before_ms: u64,
    /// Whether the store has to be asked when the next thing is due.
    stale: bool,
    limit: u32,
    cause: Arc<Cause>,
}

impl Expiry {
    /// `limit` is the most ownerships, and the most reservations, that one batch ends.
    pub(super) fn new(next_due_ms: Option<u64>, limit: usize) -> Self {
        let cause = Cause { reason: Reason::Expiry, actor: "arbiter".to_owned(), order_id: String::new() };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { next_due_ms, not_before_ms: 0, stale: false, limit, cause: Arc::new(cause) }
    }

    pub(super) fn restart(&mut self, next_due_ms: Option<u64>) {
        self.next_due_ms = next_due_ms;
        self.stale = false;
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.next_due_ms.is_some_and(|due_ms| due_ms.max(self.not_before_ms) <= now_ms)
    }

    /// How long until something may be due; none when nothing ends by itself.
    pub(super) fn due_in(&self, now_ms: u64) -> Option<Duration> {
        let due_ms = self.next_due_ms?.max(self.not_before_ms);
        Some(Duration::from_millis(due_ms.saturating_sub(now_ms)).min(LOOK_AGAIN))
    }

    /// What is due now, as commands.
    pub(super) async fn due(
        &mut self,
        store: &SharedStore,
        random: &dyn Random,
        now_ms: u64,
    ) -> Result<Vec<OwnItem>, StoreError> {
        if !self.is_due(now_ms) {
            return Ok(Vec::new());
        }
        if self.stale {
            self.next_due_ms = store.next_due_ms().await?;
            self.stale = false;
            if !self.is_due(now_ms) {
                return Ok(Vec::new());
            }
        }
        let due = store.due(now_ms, self.limit).await?;
        let ends = due.ownerships.into_iter().map(|key| Operation::End { key });
        let expires = due.reservations.into_iter().map(|reservation_id| Operation::Expire { reservation_id });
        let items: Vec<OwnItem> = ends
            .chain(expires)
            .map(|operation| OwnItem {
                request_id: RequestId::new_v7(now_ms, random.bytes10()),
                command: Command {
                    preconditions: Vec::new(),
                    operations: vec![operation],
                    cause: Arc::clone(&self.cause),
                },
            })
            .collect();
        if items.is_empty() {
            self.next_due_ms = store.next_due_ms().await?;
        }
        // What is next is known when these are gone.
        self.stale = true;
        Ok(items)
    }

    /// Takes note of what a batch made that ends by itself.
    pub(super) fn follow(&mut self, effects: &Effects) {
        let ownerships = effects.inserted.iter().chain(&effects.replaced).filter_map(|one| one.ends_at_ms);
        let reservations =
            effects.reservations.iter().filter(|one| one.is_open()).map(|one| one.expires_at_ms);
        if let Some(due_ms) = ownerships.chain(reservations).min() {
            self.next_due_ms = Some(self.next_due_ms.map_or(due_ms, |next_ms| next_ms.min(due_ms)));
        }
    }

    /// Leaves alone for a while what the store did not take.
    pub(super) fn put_off(&mut self, now_ms: u64) {
        if self.is_due(now_ms) {
            self.not_before_ms = now_ms.saturating_add(PUT_OFF_MS);
        }
    }
}
