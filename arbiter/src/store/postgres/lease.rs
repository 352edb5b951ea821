//! The lease that stands in the store.

use async_trait::async_trait;
use sqlx::Row;
use uuid::Uuid;

use super::super::record::{signed, unsigned};
use super::super::{Head, LeaseRow, LeaseStore, StoreError};
use super::{PostgresStore, read_head};

mod sql {
    pub(super) const LEASE: &str = "SELECT leader_id, duration_ms, renewals FROM lease";

    /// The lease and the lead change hands in one transaction. An old leader's commit that is under way is waited for.
    pub(super) const TAKE: &str = "
        WITH taken AS (
          UPDATE lease SET leader_id = $1, duration_ms = $2, renewals = renewals + 1
          WHERE renewals = $3 AND leader_id IS NOT DISTINCT FROM $4 RETURNING leader_id
        )
        UPDATE head SET epoch = epoch + 1, leader_id = taken.leader_id FROM taken
        RETURNING store_id, incarnation, epoch, revision";

    pub(super) const RENEW: &str = "UPDATE lease SET renewals = renewals + 1 WHERE leader_id = $1";

    pub(super) const RELEASE: &str =
        "UPDATE lease SET leader_id = NULL, renewals = renewals + 1 WHERE leader_id = $1";
}

#[async_trait]
impl LeaseStore for PostgresStore {
    async fn lease(&self) -> Result<LeaseRow, StoreError> {
        let row = sqlx::query(sql::LEASE).fetch_one(&self.pool).await?;
        Ok(LeaseRow {
            leader_id: row.try_get(0)?,
            duration_ms: unsigned(row.try_get(1)?)?,
            renewals: unsigned(row.try_get(2)?)?,
        })
    }

    async fn take(
        &self,
        leader_id: Uuid,
        seen: &LeaseRow,
        duration_ms: u64,
    ) -> Result<Option<Head>, StoreError> {
        let row = sqlx::query(sql::TAKE)
            .bind(leader_id)
            .bind(signed(duration_ms))
            .bind(signed(seen.renewals))
            .bind(seen.leader_id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_head).transpose()
    }

    async fn renew(&self, leader_id: Uuid) -> Result<bool, StoreError> {
        let renewed = sqlx::query(sql::RENEW).bind(leader_id).execute(&self.pool).await?;
        Ok(renewed.rows_affected() == 1)
    }

    async fn release(&self, leader_id: Uuid) -> Result<(), StoreError> {
        sqlx::query(sql::RELEASE).bind(leader_id).execute(&self.pool).await?;
        Ok(())
    }
}
