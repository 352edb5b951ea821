//! All SQL of the books.

use database::{Migration, Migrations};
use gameshelf::ids::{PaymentId, RequestId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::behavior::Behavior;
use crate::ledger::{Asked, Call, Money, Operation, Payment, Refusal, State};

/// The schema of the books.
pub(crate) const MIGRATIONS: Migrations = Migrations(&[Migration {
    version: 1,
    description: "books",
    sql: include_str!("../migrations/sqlite/0001_books.sql"),
}]);

/// The books could not be read or written. The cause is for the log, never for the wire.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the books cannot be used: {0}")]
pub(crate) struct StoreError(String);

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl StoreError {
    fn column(name: &str) -> Self {
        Self(format!("the column {name} holds what this program never writes"))
    }
}

/// The outcome of an earlier call under the same request id.
#[derive(Debug)]
pub(crate) struct StoredCall {
    pub(crate) call: Call,
    pub(crate) outcome: Result<Payment, Refusal>,
}

pub(crate) async fn find_payment(
    connection: &mut SqliteConnection,
    payment_id: PaymentId,
) -> Result<Option<Payment>, StoreError> {
    let row = sqlx::query("SELECT * FROM payment WHERE payment_id = $1")
        .bind(payment_id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok(Payment { asked: asked_of(&row)?, ..payment_of(&row, payment_id)? })).transpose()
}

pub(crate) async fn save_payment(
    connection: &mut SqliteConnection,
    payment: &Payment,
) -> Result<(), StoreError> {
    let amount = payment.amount.as_ref();
    let asked = payment.asked.as_ref();
    sqlx::query("INSERT OR REPLACE INTO payment VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(payment.id.to_string())
        .bind(payment.state.as_str())
        .bind(amount.map(|amount| amount.currency.as_str()))
        .bind(amount.map(|amount| amount.minor_units))
        .bind(payment.order_id.as_str())
        .bind(payment.decline_message.as_str())
        .bind(to_sql_ms(payment.updated_unix_ms))
        .bind(asked.map(|asked| asked.behavior.as_str()))
        .bind(asked.map(|asked| asked.content.as_slice()))
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn find_call(
    connection: &mut SqliteConnection,
    request_id: RequestId,
) -> Result<Option<StoredCall>, StoreError> {
    let row = sqlx::query("SELECT * FROM call WHERE request_id = $1")
        .bind(request_id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        let payment_id: PaymentId = parse(&row, "payment_id", |text| text.parse().ok())?;
        let operation = parse(&row, "operation", operation_named)?;
        let outcome = match row.try_get::<Option<&str>, _>("refusal")? {
            None => Ok(payment_of(&row, payment_id)?),
            Some("unknown") => Err(Refusal::Unknown),
            Some(_) => Err(Refusal::State(parse(&row, "state", state_named)?)),
        };
        Ok(StoredCall { call: Call { request_id, operation, payment_id }, outcome })
    })
    .transpose()
}

pub(crate) async fn save_call(
    connection: &mut SqliteConnection,
    call: &Call,
    outcome: &Result<Payment, Refusal>,
) -> Result<(), StoreError> {
    let payment = outcome.as_ref().ok();
    let (refusal, state) = match outcome {
        Ok(payment) => (None, Some(payment.state)),
        Err(Refusal::State(state)) => (Some("state"), Some(*state)),
        Err(Refusal::Unknown | Refusal::Reused) => (Some("unknown"), None),
    };
    let amount = payment.and_then(|payment| payment.amount.as_ref());
    sqlx::query("INSERT INTO call VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(call.request_id.to_string())
        .bind(call.operation.as_str())
        .bind(call.payment_id.to_string())
        .bind(refusal)
        .bind(state.map(State::as_str))
        .bind(amount.map(|amount| amount.currency.as_str()))
        .bind(amount.map(|amount| amount.minor_units))
        .bind(payment.map(|payment| payment.order_id.as_str()))
        .bind(payment.map(|payment| payment.decline_message.as_str()))
        .bind(payment.map(|payment| to_sql_ms(payment.updated_unix_ms)))
        .execute(connection)
        .await?;
    Ok(())
}

/// The columns that a payment and a stored outcome share.
fn payment_of(row: &SqliteRow, payment_id: PaymentId) -> Result<Payment, StoreError> {
    let currency: Option<String> = row.try_get("currency")?;
    let minor_units: Option<i64> = row.try_get("minor_units")?;
    let updated_unix_ms: i64 = row.try_get("updated_unix_ms")?;
    Ok(Payment {
        id: payment_id,
        state: parse(row, "state", state_named)?,
        amount: currency.zip(minor_units).map(|(currency, minor_units)| Money { currency, minor_units }),
        order_id: row.try_get("order_id")?,
        decline_message: row.try_get("decline_message")?,
        updated_unix_ms: u64::try_from(updated_unix_ms).map_err(|_| StoreError::column("updated_unix_ms"))?,
        asked: None,
    })
}

fn asked_of(row: &SqliteRow) -> Result<Option<Asked>, StoreError> {
    let Some(content) = row.try_get::<Option<&[u8]>, _>("content")? else { return Ok(None) };
    let content = content.try_into().map_err(|_| StoreError::column("content"))?;
    let behavior = parse(row, "behavior", |text| Some(Behavior::of_token(text)))?;
    Ok(Some(Asked { behavior, content }))
}

fn parse<T>(row: &SqliteRow, column: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    read(text).ok_or_else(|| StoreError::column(column))
}

fn state_named(text: &str) -> Option<State> {
    [State::Authorized, State::Declined, State::Captured, State::Voided, State::Refunded]
        .into_iter()
        .find(|state| state.as_str() == text)
}

fn operation_named(text: &str) -> Option<Operation> {
    [Operation::Capture, Operation::Void, Operation::Refund]
        .into_iter()
        .find(|operation| operation.as_str() == text)
}

/// Milliseconds of any time that a clock can show fit; a clock far beyond is kept at the last one that does.
fn to_sql_ms(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}
