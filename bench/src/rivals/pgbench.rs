//! PostgreSQL's own load generator with the same statements: what the shared database does for a client in C.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::ConnectOptions;
use tempfile::TempDir;

use super::shared::{Arrangement, prepare};
use super::sql;
use crate::servers::{Database, Postgres, programs_of_postgres};
use crate::work::{ACTOR, Job, LIMITED_GAME, Work};

/// Numbers of connections that are tried.
const SIZES: [u32; 4] = [8, 16, 32, 64];
/// And where clients wait for one row.
const SIZES_FOR_ONE_ROW: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// A job as a script of pgbench, with a database of its own.
#[derive(Debug)]
pub(crate) struct Pgbench {
    program: PathBuf,
    database: Database,
    /// Holds the script.
    directory: TempDir,
    job: Job,
    /// So that no run repeats what an earlier one did.
    runs: u32,
}

impl Pgbench {
    pub(crate) fn prepare(server: &Rc<Postgres>, job: Job, arrangement: Arrangement) -> anyhow::Result<Self> {
        let programs =
            programs_of_postgres().context("the programs of PostgreSQL are not on this machine")?;
        let program = programs.join("pgbench");
        ensure!(program.is_file(), "pgbench is not beside PostgreSQL's other programs");
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("script.sql"), script(job, arrangement))?;
        let database = server.create_database()?;
        prepare(&database, job.work)?;
        database.settle()?;
        Ok(Self { program, database, directory, job, runs: 0 })
    }

    /// The number of connections with the highest rate.
    pub(crate) fn best_size(&mut self, duration: Duration) -> anyhow::Result<u32> {
        let in_flight = u32::try_from(self.job.in_flight)?;
        let sizes: &[u32] = if self.job.work == Work::GrantFromStock { &SIZES_FOR_ONE_ROW } else { &SIZES };
        let mut best = (in_flight.min(sizes[0]), 0.0);
        for size in sizes.iter().copied().filter(|size| *size <= in_flight) {
            let rate = self.run(size, duration)?;
            if rate > best.1 {
                best = (size, rate);
            }
        }
        Ok(best.0)
    }

    /// Transactions a second.
    pub(crate) fn run(&mut self, connections: u32, duration: Duration) -> anyhow::Result<f64> {
        self.runs += 1;
        let url = self.database.options().to_url_lossy();
        let output = Command::new(&self.program)
            .current_dir(self.directory.path())
            .args(["--no-vacuum", "--protocol=prepared", "--file=script.sql", "--define=n=0"])
            .arg(format!("--define=run={}", self.runs))
            .arg(format!("--define=customers={}", self.job.customers.min(i64::MAX.unsigned_abs())))
            .arg(format!("--client={connections}"))
            .arg(format!("--jobs={}", connections.min(2)))
            .arg(format!("--time={}", duration.as_secs().max(1)))
            .env("PGHOST", url.host_str().unwrap_or_default())
            .env("PGPORT", url.port().unwrap_or(5432).to_string())
            .env("PGUSER", url.username())
            .env("PGPASSWORD", url.password().unwrap_or_default())
            .env("PGDATABASE", url.path().trim_start_matches('/'))
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench failed: {}", error.lines().last().unwrap_or_default());
        rate(&String::from_utf8_lossy(&output.stdout)).context("pgbench tells no rate")
    }
}

/// The rate in what pgbench prints.
fn rate(output: &str) -> Option<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Each client counts its own transactions; with the run and the client that makes names that nobody else has.
const NUMBERS: &str = r"\set n :n + 1
\set time :run * 1000000 + :n
\set now 1700000000000 + :time
\set number (:run * 1000 + :client_id) * 1000000 + :n
\set customer random(0, :customers - 1)
";

fn script(job: Job, arrangement: Arrangement) -> String {
    let customer = match job.work {
        Work::GrantFromStock => "number",
        Work::Grant | Work::StrongList => "customer",
    };
    let customer = format!("('{}' || lpad(:{customer}::text, 12, '0'))", job.work.customer_prefix());
    let game = match job.work {
        Work::GrantFromStock => format!("'{LIMITED_GAME}'"),
        Work::Grant | Work::StrongList => "('game-' || lpad(:number::text, 12, '0'))".to_owned(),
    };
    // Growing with time, as ids of version 7 are; decimal digits are hexadecimal ones too.
    let id =
        "(lpad(:time::text, 12, '0') || '7' || lpad(:client_id::text, 3, '0') || '8000000000000000')::uuid";
    let hash = format!(r"'\x{}'::bytea", "ab".repeat(32));
    let outcome = r"'\x120101'::bytea";
    let log = format!(r"'\x{}'::bytea", "ab".repeat(85));
    let actor = format!("'{ACTOR}'");
    let from_stock = if job.work == Work::GrantFromStock { "true" } else { "false" };
    let entitlement = [&customer, &game, ":now::bigint", "1", &actor, "''", "NULL", from_stock];
    let statements = match (job.work, arrangement) {
        (Work::StrongList, _) => format!("{};\n", with(sql::SELECT_LIST, &[&customer])),
        (_, Arrangement::Folded) => {
            let rest = [id, &hash, outcome, ":now::bigint", &log];
            format!("{};\n", with(sql::GRANT_FOLDED, &[&entitlement[..], &rest].concat()))
        }
        (work, Arrangement::Transaction) => {
            let take = match work {
                Work::GrantFromStock => format!("{};\n", with(sql::TAKE_COPY, &[&game])),
                Work::Grant | Work::StrongList => String::new(),
            };
            format!(
                "BEGIN;\n{take}{} \\gset\n{};\n{};\nCOMMIT;\n",
                with(sql::INSERT_ENTITLEMENT, &entitlement),
                with(sql::INSERT_REQUEST, &[":valid_from", id, &hash, outcome, ":now::bigint"]),
                with(sql::INSERT_LOG, &[":valid_from", &log]),
            )
        }
    };
    format!("{NUMBERS}{statements}")
}

/// A statement with these in place of its parameters.
fn with(statement: &str, values: &[&str]) -> String {
    let numbered = values.iter().enumerate().rev();
    // From the last to the first, so that $1 does not stand for the beginning of $10.
    numbered
        .fold(statement.to_owned(), |text, (index, value)| text.replace(&format!("${}", index + 1), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_two_digits_are_whole() {
        let values: Vec<String> = (1..=11).map(|number| format!("v{number}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        assert_eq!(with("$1 $10 $11", &values), "v1 v10 v11");
    }

    #[test]
    fn the_rate_is_read() {
        assert_eq!(
            rate("latency average = 1 ms\ntps = 123.5 (without initial connection time)\n"),
            Some(123.5)
        );
        assert_eq!(rate("nothing"), None);
    }
}
