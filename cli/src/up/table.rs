//! What `up` prints once all services serve.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::exit::Failure;
use crate::output::{self, Output};
use crate::ports;

/// A service that serves.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Up<'a> {
    pub(super) running: &'a [Running],
    pub(super) logs: PathBuf,
    /// As what we were started, so that the commands can be typed as they stand.
    pub(super) executable: OsString,
    pub(super) port_base: u16,
    pub(super) example_game: &'a str,
}

#[derive(Serialize)]
struct UpJson<'a> {
    services: Vec<ServiceJson<'a>>,
    logs: String,
}

#[derive(Serialize)]
struct ServiceJson<'a> {
    name: &'a str,
    pid: u32,
    address: String,
    memory_bytes: Option<u64>,
}

/// Prints where everything is, and what to try.
///
/// # Errors
///
/// As [`output::text`].
pub(super) fn print(up: &Up<'_>, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => output::json(&UpJson {
            services: up.running.iter().map(service_json).collect(),
            logs: up.logs.display().to_string(),
        }),
        Output::Table => output::text(&in_words(up)),
    }
}

fn service_json(service: &Running) -> ServiceJson<'_> {
    ServiceJson {
        name: service.name,
        pid: service.pid,
        address: service.address.to_string(),
        memory_bytes: memory_bytes(service.pid),
    }
}

fn in_words(up: &Up<'_>) -> String {
    let mut table = output::table(&["service", "address", "process", "memory"]);
    for service in up.running {
        table.add_row([
            service.name.to_owned(),
            service.address.to_string(),
            service.pid.to_string(),
            memory_bytes(service.pid).map_or_else(|| "-".to_owned(), in_mebibytes),
        ]);
    }
    let executable = up.executable.to_string_lossy();
    let executable = match up.port_base {
        ports::DEFAULT_BASE => executable.into_owned(),
        port_base => format!("{executable} --port-base {port_base}"),
    };
    let game = up.example_game;
    format!(
        "{}logs: {}; ctrl-C ends all\n\ntry, in another terminal:\n  \
         {executable} watch\n  {executable} buy anna {game}\n  {executable} list anna\n  {executable} status\n",
        output::render(&table),
        up.logs.display(),
    )
}

/// What a process has in memory now, where the system tells.
fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn in_mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_ports_when_they_are_not_the_usual_ones() {
        let up = |port_base| {
            in_words(&Up {
                running: &[],
                logs: "logs".into(),
                executable: "gameshelf".into(),
                port_base,
                example_game: "tiny-forest",
            })
        };
        assert!(up(7400).contains("\n  gameshelf buy anna tiny-forest\n"), "{}", up(7400));
        assert!(up(7500).contains("\n  gameshelf --port-base 7500 buy anna tiny-forest\n"), "{}", up(7500));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_memory_is_known() {
        assert!(memory_bytes(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(memory_bytes(0), None);
    }
}
