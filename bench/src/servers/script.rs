//! Servers that a script starts and ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// A server that runs until this is dropped, or until this process ends.
#[derive(Debug)]
pub(crate) struct Script {
    process: Child,
}

impl Script {
    /// Starts `scripts/NAME` with a variable more, which runs a command beside a server of its own, and gives the variable in
    /// which it tells that command where the server is.
    pub(crate) fn start(
        name: &str,
        option: Option<(&str, &str)>,
        variable: &str,
    ) -> anyhow::Result<(Self, String)> {
        let script = project_directory().join("scripts").join(name);
        // The command tells the variable, on a line that begins with its name, and lasts as long as our end of its input.
        let tell = format!("printf '{variable}=%s\\n' \"${variable}\"; cat >/dev/null");
        let mut command = Command::new(&script);
        command.args(["bash", "-c", &tell]).envs(option).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("scripts/{name} cannot be run"))?;
        let output = process.stdout.take().context("the output of a script is ours")?;
        let prefix = format!("{variable}=");
        let mut value = None;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some(told) = line.strip_prefix(&prefix) {
                value = Some(told.to_owned());
                break;
            }
            eprintln!("{line}");
        }
        let script = Self { process };
        let value = value.with_context(|| format!("scripts/{name} could not start its server"))?;
        ensure!(!value.is_empty(), "scripts/{name} does not tell {variable}");
        Ok((script, value))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // The script ends its server by itself, and says so where it cannot.
        let _ = self.process.wait();
    }
}

/// Where PostgreSQL's programs are, as `scripts/with-postgres` finds them.
pub(crate) fn programs_of_postgres() -> Option<PathBuf> {
    let find = "source scripts/postgres.sh; postgres_find";
    let mut command = Command::new("bash");
    let output = command.args(["-c", find]).current_dir(project_directory()).output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    (!directory.trim().is_empty()).then(|| PathBuf::from(directory.trim()))
}

pub(super) fn project_directory() -> &'static Path {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench)
}
