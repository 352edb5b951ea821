//! What still works when a part does not, and what is kept over a restart.

use serde_json::{Value, json};

use crate::harness::{Mesh, Process, free_port_base, gameshelf, signal, wait_for, wait_until};

const REQUEST_ID: &str = "01890a5d-ac96-474b-8cce-b302099a8058";

/// Buys while the arbiter cannot answer: the order is taken, and the list comes from the copy, which says so.
fn buy_and_list_without_arbiter(mesh: &Mesh) -> Value {
    let order = mesh.run(&["buy", "anna", "hollow-comet", "--request-id", REQUEST_ID]).json();
    assert_eq!((&order["state"], &order["revision"]), (&json!("pending"), &json!(0)));
    let list = mesh.run(&["list", "anna"]).json();
    assert_eq!((&list["source"], &list["degraded"]), (&json!("local_copy"), &json!(true)));
    assert_eq!(list["games"][0]["game_id"], "tiny-forest");
    assert!(list["age_ms"].is_u64(), "{list}");
    let error = mesh.run(&["list", "anna", "--freshness", "strong"]).error(4);
    assert_eq!(error["reason"], "FRESHNESS_UNAVAILABLE");
    assert_eq!(error["hints"], json!(["take what there is, however old it is: --freshness any"]));
    order
}

/// The order that was pending is completed by itself, and its game is on the list.
fn assert_completed(mesh: &Mesh, pending: &Value) {
    let order = wait_for("the pending order is completed", || {
        let order = mesh.run(&["buy", "anna", "hollow-comet", "--request-id", REQUEST_ID]).json();
        (order["state"] == "completed").then_some(order)
    });
    assert_eq!((&order["order_id"], &order["replayed"]), (&pending["order_id"], &json!(true)));
    // Until game-list has found the arbiter again, its lists are those of the copy, which may be older than the order.
    let list = wait_for("the list is no longer degraded", || {
        let list = mesh.run(&["list", "anna"]).json();
        (list["source"] == "arbiter").then_some(list)
    });
    let games: Vec<&Value> = list["games"].as_array().unwrap().iter().map(|game| &game["game_id"]).collect();
    assert_eq!(games, ["hollow-comet", "tiny-forest"]);
}

fn with_a_game_on_the_copy() -> Mesh {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    wait_until("the copy has the game, and knows its age", || {
        let list = mesh.run(&["list", "anna", "--freshness", "any"]).json();
        list["revision"] == 1 && list["age_ms"].is_u64()
    });
    mesh
}

#[test]
fn with_an_arbiter_that_hangs_orders_are_taken_and_lists_are_served() {
    let mesh = with_a_game_on_the_copy();
    signal(mesh.pid("arbiter"), "STOP");
    let pending = buy_and_list_without_arbiter(&mesh);
    signal(mesh.pid("arbiter"), "CONT");
    assert_completed(&mesh, &pending);
}

#[test]
fn with_an_arbiter_that_is_down_orders_are_taken_and_lists_are_served() {
    let mesh = with_a_game_on_the_copy();
    // A supervisor that stands still cannot start it again.
    signal(mesh.up.pid(), "STOP");
    signal(mesh.pid("arbiter"), "KILL");
    let pending = buy_and_list_without_arbiter(&mesh);
    signal(mesh.up.pid(), "CONT");
    assert_completed(&mesh, &pending);
}

#[test]
fn an_order_outlives_the_death_of_purchase() {
    let mesh = with_a_game_on_the_copy();
    signal(mesh.pid("arbiter"), "STOP");
    let pending = mesh.run(&["buy", "anna", "hollow-comet", "--request-id", REQUEST_ID]).json();
    assert_eq!(pending["state"], "pending");
    signal(mesh.pid("purchase"), "KILL");
    wait_until("purchase is back", || mesh.up.stderr().contains("purchase serves again"));
    signal(mesh.pid("arbiter"), "CONT");
    assert_completed(&mesh, &pending);
}

#[test]
fn state_and_request_ids_are_kept_over_a_restart_of_everything() {
    let mut mesh = Mesh::start();
    let buy = ["buy", "anna", "tiny-forest", "--request-id", REQUEST_ID];
    let grant = ["grant", "bo", "marrow-vale", "--request-id", "01890a5d-ac96-474b-8cce-b302099a8059"];
    let (order, granted) = (mesh.run(&buy).json(), mesh.run(&grant).json());
    assert_eq!(mesh.stop().code(), Some(0));
    mesh.start_again();
    let (order_again, granted_again) = (mesh.run(&buy).json(), mesh.run(&grant).json());
    assert_eq!(
        (&order["order_id"], &order["revision"]),
        (&order_again["order_id"], &order_again["revision"])
    );
    assert_eq!(
        (&granted["revision"], &granted["token"]),
        (&granted_again["revision"], &granted_again["token"])
    );
    assert_eq!((&order_again["replayed"], &granted_again["replayed"]), (&json!(true), &json!(true)));
    assert_eq!(
        (mesh.games("anna"), mesh.games("bo")),
        (vec!["tiny-forest".to_owned()], vec!["marrow-vale".to_owned()])
    );
    let next = mesh.run(&["grant", "bo", "tiny-forest"]).json();
    assert_eq!(next["revision"], 3, "revisions have no gap over a restart");
}

#[test]
fn a_watch_goes_on_after_the_death_of_the_arbiter() {
    let mesh = Mesh::start();
    let watch = mesh.watch();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    assert_eq!(watch.json_line()["revision"], 1);
    signal(mesh.pid("arbiter"), "KILL");
    wait_until("the arbiter is back", || mesh.up.stderr().contains("arbiter serves again"));
    mesh.run(&["grant", "anna", "marrow-vale"]).json();
    assert_eq!(watch.json_line()["revision"], 2);
}

#[test]
fn a_database_that_cannot_be_reached_at_the_start_is_waited_for() {
    let data_dir = tempfile::tempdir().unwrap();
    let port_base = free_port_base().to_string();
    let mut command = gameshelf();
    command.args(["up", "--port-base", &port_base, "--data-dir"]).arg(data_dir.path());
    // Nobody listens on port 1.
    command.args(["--arbiter-database-url", "postgres://nobody:secret@127.0.0.1:1/none"]);
    let mut up = Process::start(&mut command);
    let waiting = "still waiting for arbiter to serve; its log: ";
    wait_until("it is said what is waited for", || up.stderr().contains(waiting));
    let log = std::fs::read_to_string(data_dir.path().join("logs/arbiter.log")).unwrap();
    assert!(log.contains("waiting for the database") && !log.contains("secret"), "{log}");
    signal(up.pid(), "TERM");
    assert_eq!(up.end().code(), Some(0), "{}", up.stderr());
}
