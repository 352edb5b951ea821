//! The processes of an example: where they listen, where they keep what they have, and how others find them.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh::environment::Environment;
use mesh::outbound::discovery::Source;
use tempfile::TempDir;

use crate::exit::{Failure, Kind};
use crate::up::Signals;
use crate::up::child::Spec;
use crate::up::data_dir::DataDir;
use crate::up::supervisor::Supervisors;

/// Time for a process to take what one before it still holds: a port, or the lock of a database.
const WAIT_MS: &str = "5000";
/// Time for a process to finish what it has begun before it is killed.
const DRAIN: Duration = Duration::from_secs(5);

/// Where an example keeps what it has.
#[derive(Debug)]
pub(super) struct Place {
    data_dir: DataDir,
    /// Ours to take away, where nobody named a directory.
    temporary: Option<TempDir>,
}

impl Place {
    /// The directory that was named, or one that is gone after a run that went well. `database` is a file that a run makes: what
    /// is seen is judged by what was done, so it begins with nothing.
    pub(super) async fn take(given: Option<&Path>, database: &str) -> Result<Self, Failure> {
        if let Some(used) = given.filter(|given| given.join(database).exists()) {
            let message = format!("the data directory {} has the database of an earlier run", used.display());
            return Err(Failure::new(Kind::BadInput, "DATA_DIR_USED", message)
                .with("data_dir", used.display())
                .hint("choose another one with --data-dir, or remove it"));
        }
        let temporary = match given {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("gameshelf-example-").tempdir()?),
        };
        let path = given.or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
        Ok(Self { data_dir: DataDir::take(path, Duration::from_secs(5)).await?, temporary })
    }

    pub(super) fn path(&self) -> &Path {
        self.data_dir.path()
    }

    /// Writes a file into it.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        self.data_dir.write(name, content)
    }

    /// Keeps the directory, for whoever wants to know what went wrong; the logs in it.
    pub(super) fn keep(self) -> PathBuf {
        let logs = self.data_dir.logs();
        if let Some(temporary) = self.temporary {
            let _ = temporary.keep();
        }
        logs
    }

    /// How a process of the example is run: a subcommand of this executable, with these options.
    pub(super) fn spec(
        &self,
        name: &'static str,
        address: SocketAddr,
        subcommand: &[&str],
        options: Vec<(&str, OsString)>,
    ) -> io::Result<Spec> {
        let mut arguments: Vec<OsString> = subcommand.iter().map(OsString::from).collect();
        arguments.push("--exit-on-stdin-close".into());
        let common = [("--listen", address.to_string().into()), ("--bind-wait-ms", WAIT_MS.into())];
        for (flag, value) in common.into_iter().chain(options) {
            arguments.extend([flag.into(), value]);
        }
        Ok(Spec {
            name,
            address,
            executable: std::env::current_exe()?,
            arguments,
            environment: Vec::new(),
            log: self.data_dir.logs().join(format!("{name}.log")),
            is_front: false,
        })
    }
}

/// The file by which callers find the instances of a service, as many as there are just now.
#[derive(Debug)]
pub(super) struct Endpoints<'a> {
    place: &'a Place,
    name: &'static str,
}

impl<'a> Endpoints<'a> {
    pub(super) fn write(place: &'a Place, name: &'static str, addresses: &[SocketAddr]) -> io::Result<Self> {
        let endpoints = Self { place, name };
        endpoints.replace(addresses)?;
        Ok(endpoints)
    }

    /// Says that the instances are these from now on.
    pub(super) fn replace(&self, addresses: &[SocketAddr]) -> io::Result<()> {
        let lines: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        self.place.write(self.name, lines.join("\n").as_bytes()).map(drop)
    }

    pub(super) fn source(&self) -> Source {
        Source::File(self.place.path().join(self.name))
    }
}

/// Ports below those that the system gives to clients, and above those that are chosen for a mesh.
const PORTS: std::ops::Range<u16> = 30_000..32_700;

/// So many addresses on this machine that nobody uses now. Where to look first depends on the process, so that examples that start at
/// the same time do not find the same ones.
pub(super) fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT], Failure> {
    let size = u16::try_from(COUNT).unwrap_or(u16::MAX);
    let blocks = u32::from((PORTS.end - PORTS.start) / size);
    let at = |block: u32| {
        let base = PORTS.start + u16::try_from(block % blocks).unwrap_or_default() * size;
        let mut ports = base..;
        [(); COUNT].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.next().unwrap_or(base))))
    };
    let first = std::process::id();
    let found = (0..blocks).map(|step| at(first.wrapping_add(step))).find(|addresses| {
        // All are held until the last is tried.
        let held: Vec<_> = addresses.iter().map(TcpListener::bind).collect();
        held.iter().all(Result::is_ok)
    });
    found.ok_or_else(|| {
        let message =
            format!("there are no {COUNT} free ports in a row from {} to {}", PORTS.start, PORTS.end - 1);
        Failure::new(Kind::Unavailable, "PORTS", message)
    })
}

/// All processes of an example.
#[derive(Debug, Default)]
pub(super) struct Children(Vec<Supervisors>);

impl Children {
    /// Starts these too, and waits until they serve.
    pub(super) async fn start(&mut self, specs: Vec<Spec>, environment: &Environment) -> Result<(), Failure> {
        let supervisors = Supervisors::start(specs, environment, DRAIN);
        let serving = supervisors.all_serving().await.map(drop);
        self.0.push(supervisors);
        serving
    }

    /// Ends all of them, the last ones first.
    pub(super) async fn stop(mut self) {
        while let Some(mut supervisors) = self.0.pop() {
            supervisors.stop().await;
        }
    }
}

/// Does the work of an example until it is done, or somebody ends it.
pub(super) async fn until_told<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut signals = Signals::new()?;
    tokio::select! {
        done = work => done,
        () = signals.next() => Err(Failure::new(Kind::Defect, "INTERRUPTED", "the example was ended before it was done")),
    }
}

/// Takes the directory away after a run that went well; says where the logs are after one that did not.
pub(super) fn leave(place: Place, done: Result<(), Failure>) -> Result<(), Failure> {
    done.map_err(|failure| {
        let logs = place.keep();
        failure.hint(format!("the logs of the processes: {}", logs.display()))
    })
}
