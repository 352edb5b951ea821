//! How `up` keeps the services up, and how all of it ends.

use crate::harness::{Mesh, Process, free_port_base, gameshelf, is_running, signal, wait_until};

#[test]
fn one_line_tells_what_runs_where() {
    let mesh = Mesh::start();
    let services = mesh.printed["services"].as_array().unwrap();
    let named: Vec<_> = services.iter().map(|service| service["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["arbiter", "purchase", "game-list", "payment-sandbox"]);
    for (offset, service) in services.iter().enumerate() {
        let port = usize::from(mesh.port_base) + offset;
        assert_eq!(service["address"], format!("127.0.0.1:{port}"));
        assert!(is_running(mesh.pid(service["name"].as_str().unwrap())));
        assert!(service["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{service}");
    }
}

#[test]
fn a_table_is_printed_with_three_commands_to_try() {
    let data_dir = tempfile::tempdir().unwrap();
    let port_base = free_port_base().to_string();
    let mut command = gameshelf();
    command.args(["up", "--port-base", &port_base, "--data-dir"]).arg(data_dir.path());
    let up = Process::start(&mut command);
    assert_eq!(up.line().split_whitespace().collect::<Vec<_>>(), ["SERVICE", "ADDRESS", "PROCESS", "MEMORY"]);
    let services = [(); 4].map(|()| up.line().split_whitespace().next().unwrap().to_owned());
    assert_eq!(services, ["arbiter", "purchase", "game-list", "payment-sandbox"]);
    assert!(up.line().starts_with("logs: "));
    assert_eq!((up.line().as_str(), up.line().as_str()), ("", "try, in another terminal:"));
    let commands = [(); 3].map(|()| up.line());
    for (command, verb) in commands.iter().zip(["watch", "buy anna tiny-forest", "list anna"]) {
        assert!(command.ends_with(&format!(" --port-base {port_base} {verb}")), "{command}");
    }
}

#[test]
fn sigterm_and_ctrl_c_end_all_services() {
    for name in ["TERM", "INT"] {
        let mut mesh = Mesh::start();
        signal(mesh.up.pid(), name);
        assert_eq!(mesh.up.end().code(), Some(0), "{name}: {}", mesh.up.stderr());
        assert!(mesh.pids().iter().all(|pid| !is_running(*pid)), "all have ended before up has");
    }
}

#[test]
fn children_end_when_up_is_killed_and_up_can_be_started_again_at_once() {
    let mut mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    let before = mesh.pids();
    mesh.up.kill();
    mesh.start_again();
    wait_until("the children of the one that was killed end", || before.iter().all(|pid| !is_running(*pid)));
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    assert_eq!(mesh.stop().code(), Some(0), "{}", mesh.up.stderr());
}

#[test]
fn a_child_that_dies_is_said_so_and_started_again() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    for service in ["arbiter", "purchase", "game-list", "payment-sandbox"] {
        let pid = mesh.pid(service);
        signal(pid, "KILL");
        let died =
            format!("{service} (process {pid}) died: signal: 9 (SIGKILL); it is started again in 100 ms");
        wait_until("the death is said", || mesh.up.stderr().contains(&died));
        let back = format!("{service} serves again (process ");
        wait_until("the service is back", || mesh.up.stderr().contains(&back));
    }
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    assert_eq!(mesh.run(&["buy", "anna", "hollow-comet"]).json()["state"], "completed");
}

#[test]
fn a_service_that_hangs_does_not_keep_up_from_ending() {
    let mut mesh = Mesh::start_with(&["--drain-ms", "200"], &[]);
    signal(mesh.pid("payment-sandbox"), "STOP");
    assert_eq!(mesh.stop().code(), Some(0), "{}", mesh.up.stderr());
    assert!(mesh.pids().iter().all(|pid| !is_running(*pid)));
}
