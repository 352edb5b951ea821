//! Starts a mesh of its own for a test, and runs commands against it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A wait this long has failed; it is far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until something holds, and fails when it never does.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Waits until there is something.
pub(crate) fn wait_for<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let attempts = PATIENCE.as_millis() / PAUSE.as_millis();
    for _ in 0..attempts {
        if let Some(there) = get() {
            return there;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("waited in vain: {what}");
}

/// The four ports of a mesh: below those that the system gives to clients, and free when we looked.
pub(crate) fn free_port_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_this_process = u16::try_from(std::process::id() % 1000).unwrap() * 16;
    let is_free = |base: u16| (base..base + 4).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let bases = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(4, Ordering::Relaxed);
        12_000 + (of_this_process + step) % 18_000
    });
    bases.take(1000).find(|base| is_free(*base)).expect("four free ports in a row")
}

/// A file of the project.
pub(crate) fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A signal to a process, by the shell: it is at hand everywhere.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Whether a process runs. One that has ended and is not yet buried does not.
pub(crate) fn is_running(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    fn new(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The result of a command that went well.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The failure of a command that ended with this code.
    #[track_caller]
    pub(crate) fn error(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "", "a failure has no result");
        let mut failure: Value = serde_json::from_str(self.stderr.lines().last().unwrap()).unwrap();
        failure["error"].take()
    }
}

/// The executable, untouched by what is set around the test.
pub(crate) fn gameshelf() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gameshelf"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("GAMESHELF_") || name.starts_with("OTEL_") || name.starts_with("RUST_LOG") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the executable to its end.
pub(crate) fn run(arguments: &[&str]) -> Done {
    Done::new(gameshelf().args(arguments).output().unwrap())
}

/// A running process that is killed when the test ends, however it ends.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    stderr: PathBuf,
    _directory: TempDir,
}

impl Process {
    /// Starts it; its standard output can be read line by line, its standard error goes to a file.
    pub(crate) fn start(command: &mut Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stderr = directory.path().join("stderr");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            // It ends when the process or the test does.
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines, stderr, _directory: directory }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// The next line of its output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line came; stderr: {}", self.stderr()),
            Err(RecvTimeoutError::Disconnected) => panic!("the output has ended; stderr: {}", self.stderr()),
        }
    }

    /// The next line, which is JSON.
    #[track_caller]
    pub(crate) fn json_line(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("the end of a process", || self.child.try_wait().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process would not notice that its parent has gone; a killed one needs no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("standard error of process {}:\n{}", self.pid(), self.stderr());
        }
    }
}

/// A mesh with its data.
pub(crate) struct Mesh {
    pub(crate) up: Process,
    pub(crate) port_base: u16,
    pub(crate) data_dir: TempDir,
    /// The one line that `up` printed.
    pub(crate) printed: Value,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Mesh {
    pub(crate) fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// Starts a mesh with more arguments and variables for `up`, and waits until it serves.
    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let port_base = free_port_base();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let environment: Vec<_> = environment.iter().map(own).collect();
        let up = start_up(data_dir.path(), port_base, &arguments, &environment);
        let printed = up.json_line();
        Self { up, port_base, data_dir, printed, arguments, environment }
    }

    /// Starts `up` again on the same data and ports, after it has ended.
    pub(crate) fn start_again(&mut self) {
        self.up = start_up(self.data_dir.path(), self.port_base, &self.arguments, &self.environment);
        self.printed = self.up.json_line();
    }

    /// Ends it as a person does, and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.up.pid(), "TERM");
        self.up.end()
    }

    /// The process of a service, as `up` printed it.
    pub(crate) fn pid(&self, service: &str) -> u32 {
        let services = self.printed["services"].as_array().unwrap();
        let found = services.iter().find(|found| found["name"] == service).unwrap();
        u32::try_from(found["pid"].as_u64().unwrap()).unwrap()
    }

    pub(crate) fn pids(&self) -> [u32; 4] {
        ["arbiter", "purchase", "game-list", "payment-sandbox"].map(|service| self.pid(service))
    }

    /// A command that finds this mesh and answers in JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = gameshelf();
        command.args(["--output", "json", "--port-base", &self.port_base.to_string()]).args(arguments);
        command.current_dir(self.data_dir.path());
        command
    }

    /// Runs such a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::new(self.command(arguments).output().unwrap())
    }

    /// Starts a watch, and waits until it has begun.
    pub(crate) fn watch(&self) -> Process {
        let watch = Process::start(&mut self.command(&["watch"]));
        assert_eq!(watch.json_line()["type"], "started");
        watch
    }

    /// The ids of the games on a customer's list.
    pub(crate) fn games(&self, customer: &str) -> Vec<String> {
        let list = self.run(&["list", customer]).json();
        let games = list["games"].as_array().unwrap().iter();
        games.map(|game| game["game_id"].as_str().unwrap().to_owned()).collect()
    }
}

fn start_up(
    data_dir: &Path,
    port_base: u16,
    arguments: &[String],
    environment: &[(String, String)],
) -> Process {
    let mut command = gameshelf();
    command.args(["up", "--output", "json", "--port-base", &port_base.to_string(), "--data-dir"]);
    command.arg(data_dir).args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    Process::start(&mut command)
}
