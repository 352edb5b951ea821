//! Looks into the service's database from outside, and disturbs it, while the service runs.

use std::path::Path;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

/// What is on disk of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) state: String,
    pub(crate) has_payment_token: bool,
}

/// The order that has this id for one of its steps; none when nothing of it is on disk.
pub(crate) async fn of_step(path: &Path, id: &str) -> Option<Stored> {
    let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.ok()?;
    let row = sqlx::query(
        "SELECT state, payment_token FROM orders \
         WHERE $1 IN (payment_id, grant_request_id, capture_request_id, void_request_id)",
    )
    .bind(id.to_owned())
    .fetch_optional(&mut connection)
    .await
    .unwrap()?;
    connection.close().await.unwrap();
    let token: Option<String> = row.get("payment_token");
    Some(Stored { state: row.get("state"), has_payment_token: token.is_some() })
}

/// How many orders are on disk.
pub(crate) async fn count(path: &Path) -> i64 {
    let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let row = sqlx::query("SELECT count(*) FROM orders").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    row.get(0)
}

/// Closes the connections of a database from the server's side, as its restart does.
pub(crate) async fn close_connections(url: &str) {
    let mut connection = PgConnectOptions::from_str(url).unwrap().connect().await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(others).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
