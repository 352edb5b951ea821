//! Stores for tests: each test has one of its own, of either kind.

use std::path::PathBuf;

use clap::Parser;
use database::{DatabaseConfig, Url};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use uuid::Uuid;

use super::{Head, SharedStore, open};

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    database: DatabaseConfig,
}

/// Runs each test against both stores.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() { super::$test($crate::store::testing::TestStore::sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() { super::$test($crate::store::testing::TestStore::postgres().await).await; })+
        }
    };
}
pub(crate) use on_both_stores;

/// A store of its own, gone with the test.
pub(crate) struct TestStore {
    pub(crate) store: SharedStore,
    url: Url,
    _directory: Option<tempfile::TempDir>,
}

impl TestStore {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the store");
        let url = Url::Sqlite(PathBuf::from(directory.path()).join("store.sqlite"));
        Self { store: open_now(&url).await, url, _directory: Some(directory) }
    }

    /// A new database on the server that the environment names.
    pub(crate) async fn postgres() -> Self {
        let server = std::env::var("GAMESHELF_TEST_POSTGRES_URL").expect(
            "this test needs PostgreSQL: run ./test, or set GAMESHELF_TEST_POSTGRES_URL to a server's URL",
        );
        let server: PgConnectOptions =
            server.parse().expect("GAMESHELF_TEST_POSTGRES_URL is a postgres:// URL");
        let name = format!("arbiter_{}", Uuid::now_v7().simple());
        let mut connection = server.connect().await.expect("the PostgreSQL server for tests is reachable");
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a new database");
        connection.close().await.expect("the connection closes");
        let url = Url::Postgres(Box::new(server.database(&name)));
        Self { store: open_now(&url).await, url, _directory: None }
    }

    /// Closes the store and opens it again, as after a restart.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = match &self.url {
            // The file's lock goes with the last owner of the store, so the old one must be gone before.
            Url::Sqlite(_) => {
                let other = Self::sqlite().await;
                drop(std::mem::replace(&mut self.store, other.store));
                open_now(&self.url).await
            }
            Url::Postgres(_) => open_now(&self.url).await,
        };
    }

    /// Takes the lead as a new process would.
    pub(crate) async fn lead(&self) -> (Uuid, Head) {
        let leader_id = Uuid::now_v7();
        (leader_id, self.store.lead(leader_id, true).await.expect("the store answers").expect("a head"))
    }
}

async fn open_now(url: &Url) -> SharedStore {
    let Defaults { database } = Defaults::parse_from(["test"]);
    open(url, &database, std::time::Duration::from_secs(30)).await.expect("the store opens")
}
