//! Clients that are not ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Mesh, project_file};

/// The Python of the tests' own environment.
fn python() -> PathBuf {
    let python = std::env::var_os("GAMESHELF_TEST_PYTHON");
    python.expect("GAMESHELF_TEST_PYTHON must name a Python with scripts/requirements.txt installed: ./test prepares it").into()
}

fn output(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_python_client_with_generated_stubs_buys_and_lists() {
    let mesh = Mesh::start();
    let mut command = Command::new(python());
    command.arg(project_file("scripts/python_client/buy_and_list.py")).arg(project_file("proto"));
    command.args([1, 2].map(|offset| format!("127.0.0.1:{}", mesh.port_base + offset)));
    let seen = output(command.args(["anna", "tiny-forest"]));
    assert_eq!((&seen["state"], &seen["price_minor_units"]), (&json!("ORDER_STATE_COMPLETED"), &json!(499)));
    assert_eq!(seen["games"], json!([{ "game_id": "tiny-forest", "title": "Tiny Forest" }]));
    assert_eq!(seen["second"], json!({ "code": "FAILED_PRECONDITION", "reason": "ALREADY_OWNED" }));
}

#[test]
fn a_client_that_knows_nothing_learns_the_contract_by_reflection() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    let buf = python().parent().unwrap_or(Path::new("")).join("buf");
    let url = |offset: u16, method: &str| format!("http://127.0.0.1:{}/{method}", mesh.port_base + offset);
    for protocol in ["grpc-v1", "grpc-v1alpha"] {
        let mut command = Command::new(&buf);
        command.args([
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "--reflect-protocol",
            protocol,
        ]);
        command.args(["--data", r#"{"customer_id": "anna"}"#]);
        let list = output(command.arg(url(0, "gameshelf.arbiter.v1.ArbiterService/ListEntitlements")));
        assert_eq!(list["entitlements"][0]["gameId"], "tiny-forest", "{list}");
    }
}
