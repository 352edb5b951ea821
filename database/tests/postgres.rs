//! Which servers are opened, and how. It needs PostgreSQL: one server for all tests, and one of its own whose settings are spoiled.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use database::{Migrations, OpenError, PostgresOptions, open_postgres};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

const NOTHING: Migrations = Migrations(&[]);

/// A server that ends with the test: whoever started it reads its own input, which is closed then.
struct OwnServer {
    process: Child,
    connect: PgConnectOptions,
    connection: PgConnection,
}

impl OwnServer {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/with-postgres");
        let mut process = Command::new(script)
            .args(["sh", "-c", "echo \"$GAMESHELF_TEST_POSTGRES_URL\"; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/with-postgres runs");
        let told = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut urls = told.map_while(Result::ok).filter(|line| line.starts_with("postgres://"));
        let connect: PgConnectOptions = urls.next().expect("the server starts").parse().unwrap();
        let connection = connect.connect().await.unwrap();
        Self { process, connect, connection }
    }

    /// Sets what holds for the whole server, and waits until it does.
    async fn set(&mut self, setting: &str, value: &str) {
        for statement in
            [format!("ALTER SYSTEM SET {setting} = {value}"), "SELECT pg_reload_conf()".to_owned()]
        {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut self.connection).await.unwrap();
        }
        let taken_over = async {
            loop {
                // A new one has what the server has now.
                let mut connection = self.connect.connect().await.unwrap();
                let row = sqlx::query("SELECT current_setting($1)").bind(setting).fetch_one(&mut connection);
                if row.await.unwrap().get::<String, _>(0) == value {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), taken_over).await.expect("the server takes it over");
    }

    fn stop(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused() {
    let mut server = OwnServer::start().await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        server.set(setting, "off").await;
        let refused = open_postgres(&server.connect, &PostgresOptions::default(), NOTHING).await.unwrap_err();
        assert!(matches!(refused, OpenError::Unsafe(_)), "{refused}");
        assert!(refused.to_string().contains(&format!("{setting} is off")), "{refused}");
        let by_name = PostgresOptions { allow_unsafe: true, ..PostgresOptions::default() };
        open_postgres(&server.connect, &by_name, NOTHING).await.unwrap().close().await;
        server.set(setting, "on").await;
        open_postgres(&server.connect, &PostgresOptions::default(), NOTHING).await.unwrap().close().await;
    }
    server.stop();
}

#[tokio::test]
async fn a_transaction_that_nobody_ends_any_more_is_ended_by_the_server() {
    let url = std::env::var("GAMESHELF_TEST_POSTGRES_URL").expect(
        "this test needs PostgreSQL: run ./test, or set GAMESHELF_TEST_POSTGRES_URL to a server's URL",
    );
    let connect: PgConnectOptions = url.parse().expect("GAMESHELF_TEST_POSTGRES_URL is a postgres:// URL");
    let pool = open_postgres(&connect, &PostgresOptions::default(), NOTHING).await.unwrap();
    let limit = sqlx::query("SHOW idle_in_transaction_session_timeout").fetch_one(&pool).await.unwrap();
    assert_eq!(limit.get::<String, _>(0), "10s");
    pool.close().await;
}
