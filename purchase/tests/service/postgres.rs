//! A database of its own for each test, on the server that the tests are given.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::str::FromStr;

use futures_util::FutureExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

const VARIABLE: &str = "GAMESHELF_TEST_POSTGRES_URL";

/// Runs a test with the URL of an empty database, which is dropped after it, also when the test fails.
///
/// # Panics
///
/// When the tests are given no server, or the test panics.
pub(crate) async fn with_database<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    let url = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("this test needs a PostgreSQL server: run ./test, or set {VARIABLE} to the URL of a superuser")
    });
    let server = PgConnectOptions::from_str(&url).expect("the URL of the server");
    let mut connection = server.connect().await.expect("the server answers");
    let name = format!("purchase_test_{}", uuid::Uuid::now_v7().simple());
    execute(&mut connection, format!("CREATE DATABASE {name}")).await;
    let mut database = server.clone().database(&name).to_url_lossy();
    // The drop below does not wait for a server that is asked for TLS.
    database.set_query(Some("sslmode=disable"));
    let outcome = AssertUnwindSafe(test(database.to_string())).catch_unwind().await;
    execute(&mut connection, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await.expect("a statement of the tests");
}
