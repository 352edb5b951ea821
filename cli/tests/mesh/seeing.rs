//! The mesh is seen by `gameshelf status`, and judged by `gameshelf check`.

use std::process::Command;

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::harness::{
    self, Done, Mesh, Process, free_port_base, gameshelf, project_file, signal, wait_for, wait_until,
};
use crate::postgres::new_database;

/// The edge between two services, once there is one.
fn edge(mesh: &Mesh, caller: &str, callee: &str) -> Option<Value> {
    let mut status = mesh.run(&["status"]).json();
    let edges = status["edges"].as_array_mut().unwrap().iter_mut();
    edges.map(Value::take).find(|edge| edge["caller"] == caller && edge["callee"] == callee)
}

/// What a check found in the mesh, where it ended with this code.
#[track_caller]
fn findings(done: &Done, code: i32) -> Vec<Value> {
    assert_eq!(done.code, code, "{done:?}");
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    told["mesh"]["findings"].as_array().unwrap().clone()
}

/// The one finding of this kind, once a check ends with this code.
fn finding(mesh: &Mesh, arguments: &[&str], code: i32, reason: &str) -> Value {
    let found = wait_for("a check that finds it", || {
        let done = mesh.run(arguments);
        (done.code == code && done.stdout.contains(reason)).then_some(done)
    });
    let mut found = findings(&found, code);
    found.retain(|one| one["reason"] == reason);
    assert_eq!(found.len(), 1, "{found:?}");
    for text in ["message", "advice"] {
        assert!(found[0][text].as_str().is_some_and(|text| text.len() > 10), "{found:?}");
    }
    found.remove(0)
}

#[test]
fn status_shows_who_is_there_and_who_calls_whom() {
    let mesh = Mesh::start();
    mesh.run(&["buy", "anna", "tiny-forest"]).json();
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    let bought = wait_for("the purchase is counted", || {
        edge(&mesh, "purchase", "arbiter").filter(|edge| edge["calls"].as_u64() > Some(0))
    });
    let version = json!(env!("CARGO_PKG_VERSION"));
    assert_eq!((&bought["errors"], &bought["versions"][0]["version"]), (&json!(0), &version));
    let methods = bought["versions"][0]["methods"].as_array().unwrap();
    let grant =
        methods.iter().find(|one| one["method"] == "gameshelf.arbiter.v1.ArbiterService/Grant").unwrap();
    assert_eq!(grant["calls"], 1);
    assert!(grant["p50_us"].as_u64() <= grant["p99_us"].as_u64() && grant["p50_us"].as_u64() > Some(0));
    assert_eq!(bought["instances"][0]["state"], "serving");
    let listed = edge(&mesh, "game-list", "arbiter").unwrap();
    assert_eq!(listed["calls_per_request"], 1.0, "a strong list asks the arbiter once: {listed}");
    // The saga works for the request that has asked for the order: authorize and capture.
    let paid = wait_for("the request has ended", || {
        edge(&mesh, "purchase", "payment").filter(|edge| edge["calls_per_request"].is_number())
    });
    assert_eq!((&paid["calls_per_request"], &paid["requests"][0]["requests"]), (&json!(2.0), &json!(1)));

    let status = mesh.run(&["status"]).json();
    let instances = status["instances"].as_array().unwrap().iter();
    let told: Vec<_> = instances.map(|one| [&one["service"], &one["health"], &one["version"]]).collect();
    let expected =
        ["arbiter", "purchase", "game-list", "payment"].map(|name| json!([name, "serving", version]));
    assert_eq!(json!(told), json!(expected));
    assert_eq!(status["instances"][0]["packages"][0]["name"], "gameshelf.arbiter.v1");
}

#[test]
fn status_is_a_table_for_people() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    let table = |arguments: &[&str]| {
        let mut command = gameshelf();
        command.args(["--port-base", &mesh.port_base.to_string()]).args(arguments);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    wait_until("calls are shown", || table(&["status", "--methods"]).contains("ArbiterService/ReportCopy"));
    let shown = table(&["status"]);
    let line =
        |begin: &str| shown.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{shown}"));
    assert!(line("arbiter ").contains("serving") && line("game-list  arbiter ").contains(" ms"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no styles where nobody looks");
}

#[test]
fn a_mesh_that_is_well_passes_the_check_and_one_service_that_is_down_is_named() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    wait_until("all is well", || mesh.run(&["check"]).code == 0);
    let checked = mesh.run(&["check"]).json();
    assert_eq!((&checked["equal"], &checked["mesh"]), (&json!(true), &json!({"findings": []})));

    // A supervisor that stands still cannot start it again.
    signal(mesh.up.pid(), "STOP");
    signal(mesh.pid("game-list"), "KILL");
    let found = finding(&mesh, &["check"], 4, "SERVICE_UNREACHABLE");
    let address = format!("127.0.0.1:{}", mesh.port_base + 2);
    assert_eq!((&found["service"], &found["address"]), (&json!("game-list"), &json!(address)));
    let data: Value = serde_json::from_str(&mesh.run(&["check"]).stdout).unwrap();
    assert_eq!(data["equal"], true, "what can be checked is");
    let status = mesh.run(&["status"]).json();
    assert_eq!(status["instances"][2]["health"], "unreachable");

    signal(mesh.pid("arbiter"), "KILL");
    finding(&mesh, &["check"], 4, "DATA_NOT_CHECKED");
    signal(mesh.up.pid(), "CONT");
}

#[test]
fn where_nobody_answers_status_says_so() {
    let port_base = free_port_base().to_string();
    let done = harness::run(&["--output", "json", "--port-base", &port_base, "status"]);
    assert_eq!(done.error(4)["reason"], "UNREACHABLE");
}

#[test]
fn a_range_that_no_instance_meets_is_found() {
    let mesh = Mesh::start();
    let (own, other) = (mesh.port_base + 1, free_port_base());
    let (listen, arbiter) = (format!("127.0.0.1:{other}"), format!("127.0.0.1:{}", mesh.port_base));
    let database = format!("sqlite:{}", mesh.data_dir.path().join("other.sqlite").display());
    let catalog = project_file("samples/catalog.csv").display().to_string();
    let mut purchase: Command = gameshelf();
    purchase.args(["purchase", "--listen", &listen, "--arbiter-address", &arbiter, "--catalog", &catalog]);
    purchase.args(["--database-url", &database, "--arbiter-requires", "^9.1"]);
    let _purchase = Process::start(&mut purchase);
    let addresses = mesh.data_dir.path().join("purchases");
    std::fs::write(&addresses, format!("127.0.0.1:{own}\n{listen}\n")).unwrap();
    for source in [format!("127.0.0.1:{own},{listen}"), format!("file:{}", addresses.display())] {
        let check = ["check", "--purchase-address", &source];
        let found = finding(&mesh, &check, 3, "VERSION_INCOMPATIBLE");
        assert_eq!((&found["service"], &found["peer"]), (&json!("purchase"), &json!("arbiter")));
        assert!(found["message"].as_str().unwrap().contains("requires arbiter ^9.1"), "{found}");
    }
}

#[test]
fn a_store_that_is_not_durable_is_told_although_it_was_allowed() {
    let url = new_database("mesh_unsafe");
    let name = url.rsplit('/').next().unwrap().to_owned();
    let alter = async {
        let options: PgConnectOptions = url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        let statement = format!("ALTER DATABASE {name} SET synchronous_commit = off");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(alter);
    let listen = format!("127.0.0.1:{}", free_port_base());
    // Its end is waited for, but not for ever: one that is not refused would go on serving.
    let mut refused =
        Process::start(gameshelf().args(["arbiter", "--listen", &listen, "--database-url", &url]));
    assert_eq!(refused.end().code(), Some(5));
    assert!(refused.stderr().contains("synchronous_commit is off"), "{}", refused.stderr());
    let mesh =
        Mesh::start_with(&["--arbiter-database-url", &url], &[("GAMESHELF_DATABASE_ALLOW_UNSAFE", "true")]);
    let found = finding(&mesh, &["check", "--only", "mesh"], 3, "STORE_UNSAFE");
    assert_eq!(found["service"], "arbiter");
    assert!(found["message"].as_str().unwrap().contains("synchronous_commit is off"), "{found}");
    assert_eq!(mesh.run(&["check", "--only", "data"]).code, 0, "the data is as it should be");
    let status = mesh.run(&["status"]).json();
    assert_eq!(status["instances"][0]["concerns"][0]["reason"], "STORE_UNSAFE");
}
