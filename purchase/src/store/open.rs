//! Opens the store that a URL names.

use std::sync::Arc;
use std::time::Duration;

use database::{DatabaseConfig, Migration, Migrations, OpenError, Url, open_postgres, open_sqlite};

use super::SharedStore;
use super::sql::SqlStore;

macro_rules! migrations {
    ($store:literal: $($version:literal $name:literal),+) => {
        Migrations(&[$(Migration {
            version: $version,
            description: $name,
            sql: include_str!(concat!("../../migrations/", $store, "/", $name, ".sql")),
        }),+])
    };
}

const SQLITE: Migrations = migrations!("sqlite": 1 "0001_orders");
const POSTGRES: Migrations = migrations!("postgres": 1 "0001_orders");

/// Opens the store once; see [`database::open_with_retry`] for waiting. `statement_timeout` is how long one statement
/// may take.
pub(crate) async fn open(
    url: &Url,
    config: &DatabaseConfig,
    statement_timeout: Duration,
) -> Result<SharedStore, OpenError> {
    match url {
        Url::Sqlite(path) => {
            let sqlite = open_sqlite(path, &config.sqlite(), SQLITE).await?;
            Ok(Arc::new(SqlStore::sqlite(sqlite, statement_timeout)))
        }
        Url::Postgres(connect) => {
            let pool = open_postgres(connect, &config.postgres(), POSTGRES).await?;
            Ok(Arc::new(SqlStore::postgres(pool, statement_timeout)))
        }
    }
}
