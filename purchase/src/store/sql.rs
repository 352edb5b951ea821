//! The statements, which both stores understand, and the one implementation that runs them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gameshelf::ids::{OrderId, RequestId};
use sqlx::{PgPool, Pool, Postgres, Row as _, Sqlite, SqlitePool};

use super::row::{Row, to_column};
use super::{Store, StoreError};
use crate::order::Order;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT order_id, version, state, request_id, content_hash, customer_id, game_id, currency, \
             price_minor_units, catalog_hash, payment_id, capture_request_id, void_request_id, payment_token, \
             grant_request_id, traceparent, refusal_reason, revision, revision_token, created_unix_ms \
             FROM orders WHERE ",
            $condition
        )
    };
}

const BY_ID: &str = select!("order_id = $1");
const BY_REQUEST: &str = select!("request_id = $1");

const INSERT: &str = "INSERT INTO orders (order_id, version, state, request_id, content_hash, customer_id, game_id, \
    currency, price_minor_units, catalog_hash, payment_id, capture_request_id, void_request_id, payment_token, \
    grant_request_id, traceparent, refusal_reason, revision, revision_token, created_unix_ms, changed_unix_ms, \
    ended_unix_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) \
    ON CONFLICT (request_id) DO NOTHING";

/// Changes only what a step can change; all else is as it was when the order was taken.
const UPDATE: &str = "UPDATE orders SET version = $2, state = $3, payment_token = $4, refusal_reason = $5, \
    revision = $6, revision_token = $7, changed_unix_ms = $8, ended_unix_ms = $9 \
    WHERE order_id = $1 AND version = $2 - 1";

const UNFINISHED: &str =
    "SELECT order_id FROM orders WHERE ended_unix_ms IS NULL AND order_id > $1 ORDER BY order_id LIMIT $2";

/// A store of either kind.
#[derive(Debug)]
pub(super) struct SqlStore<D: sqlx::Database> {
    writer: Pool<D>,
    readers: Pool<D>,
    timeout: Duration,
    /// Holds the lock of an embedded database until the store is closed.
    embedded: Mutex<Option<database::Sqlite>>,
}

impl SqlStore<Sqlite> {
    pub(super) fn sqlite(sqlite: database::Sqlite, timeout: Duration) -> Self {
        let (writer, readers): (SqlitePool, SqlitePool) = (sqlite.writer.clone(), sqlite.readers.clone());
        Self { writer, readers, timeout, embedded: Mutex::new(Some(sqlite)) }
    }
}

impl SqlStore<Postgres> {
    pub(super) fn postgres(pool: PgPool, timeout: Duration) -> Self {
        Self { writer: pool.clone(), readers: pool, timeout, embedded: Mutex::new(None) }
    }
}

impl<D: sqlx::Database> SqlStore<D> {
    /// Runs a statement that only reads: without an answer it can be asked again, and nothing is in doubt.
    async fn read<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.timed(statement).await.map_err(|error| match error {
            StoreError::Unknown(text) => StoreError::Unavailable(text),
            error => error,
        })
    }

    /// Ends a statement that takes too long: a server that hangs must not hold an order up for ever.
    async fn timed<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.timeout, statement).await {
            Ok(result) => result.map_err(StoreError::from),
            Err(_) => Err(StoreError::Unknown(format!("a statement took over {:?}", self.timeout))),
        }
    }
}

// The drivers' traits cannot be named together without bounds that are longer than the code itself.
macro_rules! store {
    ($database:ty) => {
        #[async_trait]
        impl Store for SqlStore<$database> {
            async fn insert(&self, order: &Order, at_unix_ms: u64) -> Result<bool, StoreError> {
                let row = Row::of(order)?;
                let at = to_column(at_unix_ms)?;
                let statement = sqlx::query(INSERT)
                    .bind(row.order_id)
                    .bind(row.version)
                    .bind(row.state)
                    .bind(row.request_id)
                    .bind(row.content_hash)
                    .bind(row.customer_id)
                    .bind(row.game_id)
                    .bind(row.currency)
                    .bind(row.price_minor_units)
                    .bind(row.catalog_hash)
                    .bind(row.payment_id)
                    .bind(row.capture_request_id)
                    .bind(row.void_request_id)
                    .bind(row.payment_token)
                    .bind(row.grant_request_id)
                    .bind(row.traceparent)
                    .bind(row.refusal_reason)
                    .bind(row.revision)
                    .bind(row.revision_token)
                    .bind(row.created_unix_ms)
                    .bind(at)
                    .bind(order.state.is_end().then_some(at));
                Ok(self.timed(statement.execute(&self.writer)).await?.rows_affected() == 1)
            }

            async fn update(&self, order: &Order, at_unix_ms: u64) -> Result<bool, StoreError> {
                let row = Row::of(order)?;
                let at = to_column(at_unix_ms)?;
                let statement = sqlx::query(UPDATE)
                    .bind(row.order_id)
                    .bind(row.version)
                    .bind(row.state)
                    .bind(row.payment_token)
                    .bind(row.refusal_reason)
                    .bind(row.revision)
                    .bind(row.revision_token)
                    .bind(at)
                    .bind(order.state.is_end().then_some(at));
                Ok(self.timed(statement.execute(&self.writer)).await?.rows_affected() == 1)
            }

            async fn by_id(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
                let statement = sqlx::query(BY_ID).bind(order_id.to_string());
                let row = self.read(statement.fetch_optional(&self.readers)).await?;
                row.map(|row| columns(&row)?.into_order()).transpose()
            }

            async fn by_request(&self, request_id: RequestId) -> Result<Option<Order>, StoreError> {
                let statement = sqlx::query(BY_REQUEST).bind(request_id.to_string());
                let row = self.read(statement.fetch_optional(&self.readers)).await?;
                row.map(|row| columns(&row)?.into_order()).transpose()
            }

            async fn unfinished(
                &self,
                after: Option<OrderId>,
                limit: u32,
            ) -> Result<Vec<OrderId>, StoreError> {
                // Every id is greater than the empty text.
                let after = after.map(|order_id| order_id.to_string()).unwrap_or_default();
                let statement = sqlx::query(UNFINISHED).bind(after).bind(i64::from(limit));
                let rows = self.read(statement.fetch_all(&self.readers)).await?;
                rows.iter().map(order_id_of).collect()
            }

            async fn close(&self) {
                self.writer.close().await;
                self.readers.close().await;
                // Only now: until the last connection is closed, no other process may open the file.
                drop(self.embedded.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        }
    };
}

store!(Sqlite);
store!(Postgres);

/// What both kinds of rows have in common here.
macro_rules! rows {
    ($($row:ty),+) => { $(
        impl Columns for $row {
            fn text(&self, name: &str) -> Result<Option<String>, sqlx::Error> { self.try_get(name) }
            fn number(&self, name: &str) -> Result<Option<i64>, sqlx::Error> { self.try_get(name) }
            fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, sqlx::Error> { self.try_get(name) }
        }
    )+ };
}

trait Columns {
    fn text(&self, name: &str) -> Result<Option<String>, sqlx::Error>;
    fn number(&self, name: &str) -> Result<Option<i64>, sqlx::Error>;
    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, sqlx::Error>;
}

rows!(sqlx::sqlite::SqliteRow, sqlx::postgres::PgRow);

fn columns(row: &impl Columns) -> Result<Row, StoreError> {
    let text = |name: &str| Ok::<_, StoreError>(row.text(name)?.unwrap_or_default());
    let number = |name: &str| Ok::<_, StoreError>(row.number(name)?.unwrap_or_default());
    Ok(Row {
        order_id: text("order_id")?,
        version: number("version")?,
        state: text("state")?,
        request_id: text("request_id")?,
        content_hash: row.bytes("content_hash")?.unwrap_or_default(),
        customer_id: text("customer_id")?,
        game_id: text("game_id")?,
        currency: row.text("currency")?,
        price_minor_units: row.number("price_minor_units")?,
        catalog_hash: text("catalog_hash")?,
        payment_id: row.text("payment_id")?,
        capture_request_id: row.text("capture_request_id")?,
        void_request_id: row.text("void_request_id")?,
        payment_token: row.text("payment_token")?,
        grant_request_id: text("grant_request_id")?,
        traceparent: row.text("traceparent")?,
        refusal_reason: row.text("refusal_reason")?,
        revision: row.number("revision")?,
        revision_token: row.text("revision_token")?,
        created_unix_ms: number("created_unix_ms")?,
    })
}

fn order_id_of(row: &impl Columns) -> Result<OrderId, StoreError> {
    let text = row.text("order_id")?.unwrap_or_default();
    text.parse().map_err(|_| StoreError::Corrupt(format!("order_id is {text:?}")))
}
