//! Opens the store that a URL names.

use std::sync::Arc;
use std::time::Duration;

use database::{DatabaseConfig, Migration, Migrations, OpenError, Url, open_postgres, open_sqlite};

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{SharedStore, Store};

macro_rules! migrations {
    ($store:literal: $($version:literal $name:literal),+) => {
        Migrations(&[$(Migration {
            version: $version,
            description: $name,
            sql: include_str!(concat!("../../migrations/", $store, "/", $name, ".sql")),
        }),+])
    };
}

const SQLITE: Migrations =
    migrations!("sqlite": 1 "0001_entitlements", 2 "0002_log_trimming", 3 "0003_memtable");
const POSTGRES: Migrations =
    migrations!("postgres": 1 "0001_entitlements", 2 "0002_log_trimming", 3 "0003_lineage");

/// What a store is told beside what every service tells its database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreOptions {
    /// On a server: what became of a commit that took longer is not known.
    pub(crate) commit_timeout: Duration,
    /// On SQLite: about how many new entitlements wait in memory before they are written into their table.
    pub(crate) memtable_rows: u32,
}

/// Opens the store once; see [`database::open_with_retry`] for waiting.
pub(crate) async fn open(
    url: &Url,
    config: &DatabaseConfig,
    options: StoreOptions,
) -> Result<SharedStore, OpenError> {
    match url {
        Url::Sqlite(path) => {
            let database = open_sqlite(path, &config.sqlite(), SQLITE).await?;
            let store = SqliteStore::new(database, path, options.memtable_rows as usize).await;
            let store = store.map_err(|error| OpenError::Failed(error.to_string()))?;
            Ok(Arc::new(store) as Arc<dyn Store>)
        }
        Url::Postgres(connect) => {
            let pool = open_postgres(connect, &config.postgres(), POSTGRES).await?;
            Ok(Arc::new(PostgresStore::new(pool, options.commit_timeout)) as Arc<dyn Store>)
        }
    }
}
