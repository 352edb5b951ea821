//! What processes ask of the kernel, in the order in which strace saw it.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Process, is_running, signal, wait_until};

/// All that reads from a connection, writes to one or to a file, and syncs a file.
const CALLS: &str =
    "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync";
/// More than is ever written at once here.
const STRING_BYTES: &str = "1048576";

/// A call of the kernel that has returned.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    /// What it was asked to be done with: a path, or the addresses of a connection.
    pub(super) target: String,
    /// What was read or written.
    pub(super) data: Vec<u8>,
    pub(super) result: i64,
    /// Where its beginning and its end stand in the order of everything.
    pub(super) begin: usize,
    pub(super) end: usize,
}

/// A running strace.
pub(super) struct Strace {
    process: Process,
    directory: TempDir,
}

impl Strace {
    /// Starts a command under strace.
    pub(super) fn start(command: &Command) -> Self {
        let (mut strace, directory) = Self::command();
        strace.arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        Self { process: Process::start(&mut strace), directory }
    }

    /// Looks at processes that run already.
    pub(super) fn attach(pids: &[u32]) -> Self {
        let (mut strace, directory) = Self::command();
        strace.args(pids.iter().map(|pid| format!("--attach={pid}")));
        let process = Process::start(&mut strace);
        let attached = |pid: &u32| process.stderr().contains(&format!("Process {pid} attached"));
        wait_until("strace is attached", || {
            assert!(
                is_running(process.pid()),
                "strace cannot look at the processes {pids:?}, which must be of this machine; it takes root, or \
                 processes of the same user and kernel.yama.ptrace_scope=0: {}",
                process.stderr()
            );
            pids.iter().all(attached)
        });
        Self { process, directory }
    }

    fn command() -> (Command, TempDir) {
        let is_there = Command::new("strace").arg("--version").output().is_ok();
        assert!(is_there, "this test needs strace: ./test and scripts/with-tools install it");
        let directory = tempfile::tempdir().unwrap();
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--decode-fds=all", "--strings-in-hex=all", "-e", CALLS]);
        strace.args(["--string-limit", STRING_BYTES, "--output"]).arg(directory.path().join("trace"));
        (strace, directory)
    }

    /// The process that it has started, which would outlive it; none when it was attached. strace has other children before
    /// that one, to learn what the kernel can do.
    fn child(&self) -> Option<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.process.pid());
        fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// Ends it, and the process that it has started, and returns what it saw.
    pub(super) fn end(mut self) -> Vec<Call> {
        signal(self.child().unwrap_or(self.process.pid()), "TERM");
        self.process.end();
        let trace = fs::read_to_string(self.directory.path().join("trace")).unwrap();
        calls(&trace)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Some(child) = self.child() {
            signal(child, "KILL");
        }
    }
}

/// Reads a trace. A call that returned before anything else happened has one line; the others have two.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (place, line) in trace.lines().enumerate() {
        let (pid, rest) = line.split_once(' ').expect("each line begins with a process");
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, (place, first));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_name, second) = resumed.split_once(" resumed>").expect("it says what is resumed");
            let Some((begin, first)) = begun.remove(pid) else { continue };
            calls.extend(call(&format!("{first}{second}"), begin, place));
        } else {
            calls.extend(call(rest, place, place));
        }
    }
    calls
}

/// Reads `name(3<target>, "data", ...) = result`; anything else, such as a signal, is no call.
fn call(text: &str, begin: usize, end: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let result = result.split_whitespace().next()?.parse().ok()?;
    let (_number, target) = arguments.split_once('<')?;
    // The addresses of a connection have an arrow between them.
    let target_end = [">,", ">)"].iter().filter_map(|end| target.find(end)).min()?;
    let (target, arguments) = target.split_at(target_end);
    let mut data: Vec<u8> = arguments.split('"').skip(1).step_by(2).flat_map(unescape).collect();
    if let Ok(bytes) = usize::try_from(result) {
        data.truncate(bytes);
    }
    let target = String::from_utf8_lossy(&unescape(target)).into_owned();
    Some(Call { name: name.to_owned(), target, data, result, begin, end })
}

/// What `\x2f\x74` stands for. The addresses of connections are not escaped.
fn unescape(text: &str) -> Vec<u8> {
    match text.strip_prefix("\\x") {
        Some(text) => text.split("\\x").filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect(),
        None => text.as_bytes().to_vec(),
    }
}
