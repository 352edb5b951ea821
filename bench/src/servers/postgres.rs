//! The PostgreSQL server that both sides use, each in databases of its own.

use std::fs;
use std::rc::Rc;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::runtime::{self, Runtime};
use uuid::Uuid;

use super::Process;
use super::process::parent;
use super::script::Script;

/// A server, one that was given or one that was started for this run.
#[derive(Debug)]
pub(crate) struct Postgres {
    options: PgConnectOptions,
    runtime: Runtime,
    /// Its main process, when it runs on this machine.
    main_process: Option<u32>,
    _script: Option<Script>,
}

impl Postgres {
    /// Uses the server at this URL; without one, starts a server as the tests do, with more settings if there are any.
    pub(crate) fn open(url: Option<&str>, options: Option<&str>) -> anyhow::Result<Rc<Self>> {
        let (script, url) = if let Some(url) = url {
            (None, url.to_owned())
        } else {
            let options = options.map(|options| ("GAMESHELF_TEST_POSTGRES_OPTIONS", options));
            let (script, url) = Script::start("with-postgres", options, "GAMESHELF_TEST_POSTGRES_URL")?;
            (Some(script), url)
        };
        let options: PgConnectOptions = url.parse().context("the URL of PostgreSQL is not one")?;
        let options = options.disable_statement_logging();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let main_process = runtime.block_on(main_process(&options)).context("PostgreSQL cannot be used")?;
        Ok(Rc::new(Self { options, runtime, main_process, _script: script }))
    }

    /// A new and empty database.
    pub(crate) fn create_database(self: &Rc<Self>) -> anyhow::Result<Database> {
        let name = format!("bench_{}", Uuid::now_v7().simple());
        self.run(&self.options, &format!("CREATE DATABASE {name}"))?;
        // What another measurement left to be written is not to be paid for in this one.
        self.run(&self.options, "CHECKPOINT")?;
        Ok(Database { server: Rc::clone(self), options: self.options.clone().database(&name), name })
    }

    pub(crate) fn process(&self) -> Option<Process> {
        self.main_process.map(|pid| Process::family("PostgreSQL", pid))
    }

    fn run(&self, options: &PgConnectOptions, sql: &str) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect_with(options).await?;
            connection.execute(AssertSqlSafe(sql.to_owned())).await?;
            Ok(connection.close().await?)
        })
    }
}

/// A database, until this is dropped.
#[derive(Debug)]
pub(crate) struct Database {
    server: Rc<Postgres>,
    options: PgConnectOptions,
    name: String,
}

impl Database {
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    /// Runs statements.
    pub(crate) fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.server.run(&self.options, sql)
    }

    /// What is done to every database before it is measured with rows in it.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        self.run("VACUUM ANALYZE")?;
        self.run("CHECKPOINT")
    }

    pub(crate) fn process(&self) -> Option<Process> {
        self.server.process()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped = self
            .server
            .run(&self.server.options, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        if let Err(error) = dropped {
            eprintln!("the database {} is left behind: {error:#}", self.name);
        }
    }
}

/// The parent of the server's process for our connection, when that is a process of this machine.
async fn main_process(options: &PgConnectOptions) -> anyhow::Result<Option<u32>> {
    let mut connection = PgConnection::connect_with(options).await?;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
    let is_postgres = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"))
    };
    let main_process = u32::try_from(pid).ok().filter(is_postgres).and_then(parent);
    connection.close().await?;
    Ok(main_process)
}
