//! Stores for tests: each test has one of its own, of either kind.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use database::{DatabaseConfig, Url};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use uuid::Uuid;

use super::{Head, SharedStore, StoreOptions, open};

/// So few rows wait in memory that every few commits carry some over.
const OPTIONS: StoreOptions = StoreOptions { commit_timeout: Duration::from_secs(30), memtable_rows: 5 };

/// What a store on SQLite is made of.
const FILES: [&str; 3] = ["store.sqlite", "store.sqlite-wal", "store.sqlite.witness"];

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
    directory: Option<tempfile::TempDir>,
}

impl TestStore {
    pub(crate) async fn sqlite() -> Self {
        Self::sqlite_in(tempfile::tempdir().expect("a directory for the store")).await
    }

    async fn sqlite_in(directory: tempfile::TempDir) -> Self {
        let url = Url::Sqlite(PathBuf::from(directory.path()).join("store.sqlite"));
        Self { store: open_now(&url).await, url, directory: Some(directory) }
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
        Self { store: open_now(&url).await, url, directory: None }
    }

    /// Closes the store and opens it again, as after a restart.
    pub(crate) async fn reopen(&mut self) {
        self.try_reopen().await.expect("the store opens");
    }

    /// The same, where that may fail.
    pub(crate) async fn try_reopen(&mut self) -> Result<(), database::OpenError> {
        self.store.close().await;
        if matches!(self.url, Url::Sqlite(_)) {
            // The file's lock goes with the last owner of the store, so the old one must be gone before.
            let other = Self::sqlite().await;
            drop(std::mem::replace(&mut self.store, other.store));
        }
        self.store = try_open(&self.url).await?;
        Ok(())
    }

    /// The same store, opened by one who knows nothing of the lock.
    pub(crate) async fn beside_the_lock(&self) -> Self {
        let lock = self.file().with_extension("sqlite.lock");
        fs::rename(&lock, lock.with_extension("gone")).expect("the lock can be moved away");
        let url = Url::Sqlite(self.file());
        Self { store: open_now(&url).await, url, directory: None }
    }

    /// The file of a store on SQLite.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.as_ref().expect("a store on SQLite").path().join("store.sqlite")
    }

    /// Opens the store as it is after its process was killed. On SQLite: a copy of its files as they are now.
    pub(crate) async fn crash(&mut self) {
        let Some(directory) = &self.directory else { return self.reopen().await };
        let copy = tempfile::tempdir().expect("a directory for the store");
        for name in FILES.iter().filter(|name| directory.path().join(name).exists()) {
            fs::copy(directory.path().join(name), copy.path().join(name)).expect("a copy of the store");
        }
        let killed = std::mem::replace(self, Self::sqlite_in(copy).await);
        // It writes whatever it likes: to its own files.
        killed.store.close().await;
    }

    /// Closes the store, and restores a backup of it somewhere else.
    pub(crate) async fn copy(&self) -> Self {
        self.store.close().await;
        let Url::Postgres(options) = &self.url else {
            let elsewhere = tempfile::tempdir().expect("a directory for the store");
            fs::copy(self.file(), elsewhere.path().join(FILES[0])).expect("a copy of the store");
            return Self::sqlite_in(elsewhere).await;
        };
        let name = options.get_database().expect("the database has a name");
        let copy = format!("{name}_copy");
        let mut connection =
            options.clone().database("postgres").connect().await.expect("the server is reachable");
        let statement = format!("CREATE DATABASE {copy} TEMPLATE {name}");
        connection.execute(AssertSqlSafe(statement)).await.expect("a copy of the database");
        connection.close().await.expect("the connection closes");
        let url = Url::Postgres(Box::new((**options).clone().database(&copy)));
        Self { store: open_now(&url).await, url, directory: None }
    }

    /// Takes the lead as a new process does, and says which incarnation it is.
    pub(crate) async fn incarnation(&self, restored: bool) -> u64 {
        self.incarnation_at(restored, 0).await
    }

    /// The same at a time, in milliseconds since 1970.
    pub(crate) async fn incarnation_at(&self, restored: bool, now_ms: u64) -> u64 {
        let (leader_id, _) = self.lead().await;
        let head =
            self.store.settle_incarnation(leader_id, restored, now_ms).await.expect("the store answers");
        head.expect("this process leads").incarnation
    }

    /// Takes the lead as a new process would.
    pub(crate) async fn lead(&self) -> (Uuid, Head) {
        let leader_id = Uuid::now_v7();
        (leader_id, self.store.lead(leader_id, true).await.expect("the store answers").expect("a head"))
    }
}

async fn open_now(url: &Url) -> SharedStore {
    try_open(url).await.expect("the store opens")
}

async fn try_open(url: &Url) -> Result<SharedStore, database::OpenError> {
    let Defaults { database } = Defaults::parse_from(["test"]);
    open(url, &database, OPTIONS).await
}
