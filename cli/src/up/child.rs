//! One child process: how it is started, and how it is ended.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{ChildStdin, Command};

/// A log that has grown this large makes room for a new one when its service is started next.
const LOG_MAX_BYTES: u64 = 16 << 20;
/// As much of a log's end is searched for the error that ended a child.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// How a service is run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) executable: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// What is not for everyone's eyes: arguments can be seen by every user of the machine.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) log: PathBuf,
    /// Whether it calls others of the mesh, and so ends before them.
    pub(crate) is_front: bool,
}

/// A running service. It ends when its standard input is closed, which also happens when we die; dropping kills it.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    stdin: Option<ChildStdin>,
    pid: u32,
    log_begin: u64,
}

impl Child {
    /// Starts the process.
    ///
    /// # Errors
    ///
    /// When it, or its log, cannot be made.
    pub(super) fn start(spec: &Spec) -> io::Result<Self> {
        let (log, log_begin) = open_log(&spec.log)?;
        let mut command = Command::new(&spec.executable);
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us: we end the children in their order.
            .process_group(0)
            .kill_on_drop(true);
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let pid = process.id().unwrap_or_default();
        Ok(Self { process, stdin, pid, log_begin })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end; the standard input stays open.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        // Not `process.wait()` alone, as that closes the standard input first; it was taken at the start.
        self.process.wait().await
    }

    /// Tells it to finish, and kills it when it takes too long.
    pub(super) async fn stop(mut self, within: Duration) {
        self.stdin = None;
        if tokio::time::timeout(within, self.process.wait()).await.is_err() {
            // An error says that it has ended meanwhile.
            let _ = self.process.kill().await;
        }
    }

    /// The error that it wrote last, without its `error: `.
    pub(super) fn last_error(&self, spec: &Spec) -> Option<String> {
        let text = tail(&spec.log, self.log_begin).ok()?;
        let mut errors = text.lines().rev().filter_map(|line| line.strip_prefix("error: "));
        errors.next().map(str::to_owned)
    }
}

/// Opens a log to add to it. Says where the new part begins.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_MAX_BYTES) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let log = OpenOptions::new().create(true).append(true).open(path)?;
    let length = log.metadata()?.len();
    Ok((log, length))
}

fn tail(path: &Path, begin: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> Spec {
        Spec {
            name: "shell",
            address: ([127, 0, 0, 1], 0).into(),
            executable: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            log: directory.join("shell.log"),
            is_front: false,
        }
    }

    #[tokio::test]
    async fn the_last_error_of_this_run_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let spec = shell("echo 'error: old' >&2; exit 1", directory.path());
        Child::start(&spec).unwrap().ended().await.unwrap();
        let spec = shell("echo starting; echo 'error: no luck' >&2; echo bye; exit 5", directory.path());
        let mut child = Child::start(&spec).unwrap();
        assert_eq!(child.ended().await.unwrap().code(), Some(5));
        assert_eq!(child.last_error(&spec).as_deref(), Some("no luck"));
        let spec = shell("exit 1", directory.path());
        let mut child = Child::start(&spec).unwrap();
        child.ended().await.unwrap();
        assert_eq!(child.last_error(&spec), None);
    }

    #[tokio::test]
    async fn a_child_ends_when_its_standard_input_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let spec = shell("cat; echo drained", directory.path());
        Child::start(&spec).unwrap().stop(Duration::from_mins(1)).await;
        assert_eq!(fs::read_to_string(&spec.log).unwrap(), "drained\n");
    }

    #[tokio::test]
    async fn a_child_that_does_not_end_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let spec = shell("exec sleep 600", directory.path());
        Child::start(&spec).unwrap().stop(Duration::from_millis(1)).await;
    }
}
