//! The log as it is measured and trimmed, on PostgreSQL.

use async_trait::async_trait;
use sqlx::Row;
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::Revision;
use crate::store::record::{signed, unsigned};
use crate::store::sql as shared;
use crate::store::{LogRow, LogStore, StoreError};

#[async_trait]
impl LogStore for PostgresStore {
    async fn log_rows(&self, after: Revision, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        let query = sqlx::query(shared::LOG_ROWS).bind(signed(after)).bind(i64::from(limit));
        let rows = query.fetch_all(&self.pool).await?;
        let row = |row: &sqlx::postgres::PgRow| {
            Ok(LogRow {
                last: unsigned(row.try_get(0)?)?,
                bytes: u64::try_from(row.try_get::<i32, _>(1)?).unwrap_or(0),
            })
        };
        rows.iter().map(row).collect()
    }

    async fn log_mark(&self) -> Result<Revision, StoreError> {
        let row = sqlx::query(shared::LOG_MARK).fetch_one(&self.pool).await?;
        unsigned(row.try_get(0)?)
    }

    async fn carry_over(&self, _: Revision) -> Result<(), StoreError> {
        // Nothing stands in the log alone.
        Ok(())
    }

    async fn raise_log_mark(&self, leader_id: Uuid, mark: Revision) -> Result<bool, StoreError> {
        let query = sqlx::query(shared::RAISE_LOG_MARK).bind(signed(mark)).bind(leader_id);
        Ok(query.execute(&self.pool).await?.rows_affected() == 1)
    }

    async fn trim_log(&self, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(shared::TRIM_LOG).bind(i64::from(limit));
        Ok(query.execute(&self.pool).await?.rows_affected())
    }
}
