//! Compares the rows with the arbiter's digests, and mends the partitions that differ, and nothing else.

use std::time::Duration;

use gameshelf::digest::{Digest, Digests};
use gameshelf::tokens::Token;

use crate::follower::{Follower, failed};
use crate::ledger;
use crate::repair::{self, RepairError};
use crate::source::Ended;
use crate::status::DigestState;
use crate::target::Target;

impl<T: Target> Follower<T> {
    /// Reads all rows of one partition again, where that is due: at once while there are partitions that were never read,
    /// else one in each interval. Returns the time until the next one. It stands between two transactions, so what is read
    /// is what the copy shows.
    pub(crate) async fn scrub_when_due(&mut self) -> Result<Duration, Ended> {
        let wait = self.next_scrub.saturating_duration_since(self.environment.clock.monotonic());
        if self.ledger.is_complete() && !wait.is_zero() {
            return Ok(wait);
        }
        let partition = self.ledger.turn();
        let rows = self.target.rows(partition).await.map_err(failed)?;
        if self.ledger.learn(partition, ledger::sum(&rows)) {
            tracing::warn!(partition, "rows of the copy changed without a commit");
        }
        self.metrics.scrubbed();
        self.next_scrub = self.environment.clock.monotonic() + self.options.scrub_interval;
        Ok(if self.ledger.is_complete() { self.options.scrub_interval } else { Duration::ZERO })
    }

    /// Compares the rows with the arbiter's digests at the revision that they show.
    pub(crate) async fn check(&mut self, at: Token, digests: &Digests) -> Result<(), Ended> {
        let differing = self.ledger.differing(digests);
        if differing.is_empty() {
            if self.ledger.is_complete() {
                self.status.set_digest_state(DigestState::Equal);
            }
            return Ok(());
        }
        self.status.set_digest_state(DigestState::Different);
        let now = self.environment.clock.monotonic();
        if self.repair_after.is_some_and(|after| now < after) {
            return Ok(());
        }
        self.metrics.different(differing.len());
        tracing::warn!(
            partitions = differing.len(),
            revision = at.revision,
            "the copy differs from the arbiter; it is mended"
        );
        let partitions = differing.len();
        if partitions > self.options.repair_max_partitions {
            self.postpone_repairs();
            return Err(Ended::Diverged { partitions });
        }
        for partition in differing {
            if !self.mend(at, partition, digests[partition]).await? {
                return Ok(());
            }
        }
        if self.ledger.is_complete() {
            self.status.set_digest_state(DigestState::Equal);
        }
        Ok(())
    }

    /// Mends a partition, while no commits are applied. Says whether that was done.
    async fn mend(&mut self, at: Token, partition: u8, expected: Digest) -> Result<bool, Ended> {
        let max = self.options.repair_max_rows;
        let rows = match repair::read(&mut self.source, at, partition, expected, max).await {
            Ok(rows) => rows,
            Err(error @ RepairError::TooManyRows { .. }) => {
                tracing::warn!(%error, partition, "the copy is built anew instead of being mended");
                self.postpone_repairs();
                return Err(Ended::Diverged { partitions: 1 });
            }
            // What is not mended goes on being served, and is not mended now for a reason that may pass.
            Err(error) => {
                tracing::warn!(%error, partition, "the partition was not mended; it is tried again");
                self.postpone_repairs();
                return Ok(false);
            }
        };
        let count = rows.len();
        self.target.replace(partition, at, rows).await.map_err(failed)?;
        self.ledger.learn(partition, expected);
        self.metrics.repaired();
        self.status.repaired();
        tracing::info!(partition, rows = count, revision = at.revision, "a partition of the copy was mended");
        Ok(true)
    }

    /// What was in vain, or costs a whole snapshot, is not tried again at once.
    fn postpone_repairs(&mut self) {
        self.repair_after = Some(self.environment.clock.monotonic() + self.options.repair_retry);
    }
}
