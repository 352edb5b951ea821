//! Opens a database well, for every service in the same way.
//!
//! It parses the URL ([`Url`]), locks the file of an embedded database against a second process ([`Lock`]), sets
//! what durability needs, brings the schema up to date ([`Migrations`]) and refuses what must not be opened
//! ([`OpenError`]). It knows no table: all other SQL belongs to the services.

mod config;
mod error;
mod lock;
mod migrations;
mod postgres;
mod retry;
mod sqlite;
mod url;

pub use config::DatabaseConfig;
pub use error::OpenError;
pub use lock::Lock;
pub use migrations::{Migration, Migrations};
pub use postgres::{PostgresOptions, Unsafe, open_postgres, unsafe_settings};
pub use retry::{RetryOptions, open_with_retry};
pub use sqlite::{Sqlite, SqliteOptions, open_sqlite};
pub use url::{Url, UrlError, sqlite_file};
