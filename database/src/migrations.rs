//! The steps that bring a schema up to date.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrationType, Migrator};

/// One step. Once released it is never changed, since its text is compared with what was applied.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; they are applied in growing order.
    pub version: i64,
    /// What it does.
    pub description: &'static str,
    /// Its SQL, applied in one transaction.
    pub sql: &'static str,
}

/// All steps of one schema.
#[derive(Clone, Copy, Debug)]
pub struct Migrations(pub &'static [Migration]);

impl Migrations {
    /// The newest version.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.0.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    pub(crate) fn migrator(&self) -> Migrator {
        let migrations = self.0.iter().map(|migration| {
            sqlx::migrate::Migration::new(
                migration.version,
                migration.description.into(),
                MigrationType::Simple,
                migration.sql.into_sql_str(),
                false,
            )
        });
        Migrator::with_migrations(migrations.collect())
    }
}
