//! game-list's copy beside a real arbiter, by streams and by polling.

use serde_json::{Value, json};

use crate::harness::{Mesh, Process, signal, wait_for, wait_until};

const FOLLOW: &str = "GAMESHELF_GAME_LIST_FOLLOW";
const SCRUB: &str = "GAMESHELF_GAME_LIST_COPY_SCRUB_INTERVAL_MS";

/// What the copy itself shows of a customer.
fn of_copy(mesh: &Mesh, customer: &str) -> Value {
    mesh.run(&["list", customer, "--freshness", "any"]).json()
}

fn ids(list: &Value) -> Vec<&str> {
    list["games"].as_array().unwrap().iter().map(|game| game["game_id"].as_str().unwrap()).collect()
}

/// The copy as the arbiter lists it.
fn listed(mesh: &Mesh) -> Value {
    mesh.run(&["copies"]).json()["copies"][0].take()
}

/// Changes a row of game-list's copy beneath it, as a bad disk would.
fn damage(mesh: &Mesh, statement: &'static str) {
    let copy = mesh.data_dir.path().join("game-list/copy.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(copy);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        assert_eq!(sqlx::query(statement).execute(&pool).await.unwrap().rows_affected(), 1);
        pool.close().await;
    });
}

fn a_copy_is_kept_and_mends_itself(follow: &str) {
    let mesh = Mesh::start_with(&[], &[(FOLLOW, follow), (SCRUB, "1")]);
    for game in ["tiny-forest", "hollow-comet"] {
        mesh.run(&["grant", "anna", game]).json();
    }
    wait_until("the copy has both", || ids(&of_copy(&mesh, "anna")) == ["hollow-comet", "tiny-forest"]);
    assert_eq!(of_copy(&mesh, "anna")["source"], "local_copy");
    wait_until("it is found right", || listed(&mesh)["digests"] == "equal");
    let copy = listed(&mesh);
    assert_eq!((&copy["name"], &copy["repaired_partitions"]), (&json!("game-list"), &json!(0)));

    damage(&mesh, "UPDATE owned SET since_revision = 77 WHERE game_id = 'tiny-forest'");
    wait_until("the damage is mended", || of_copy(&mesh, "anna")["games"][1]["since_revision"] == 1);
    wait_until("and told", || listed(&mesh)["repaired_partitions"] == 1);
    let copy = wait_for("all is well", || Some(listed(&mesh)).filter(|copy| copy["digests"] == "equal"));
    assert_eq!((&copy["revisions_behind"], &copy["trim_risk"]), (&json!(0), &json!("none")));

    // It goes on after the arbiter was killed.
    signal(mesh.pid("arbiter"), "KILL");
    wait_until("a grant is taken again", || mesh.run(&["grant", "bo", "tiny-forest"]).code == 0);
    wait_until("the copy has it", || ids(&of_copy(&mesh, "bo")) == ["tiny-forest"]);
}

#[test]
fn a_copy_by_a_stream_is_kept_and_mends_itself() {
    a_copy_is_kept_and_mends_itself("stream");
}

#[test]
fn a_copy_by_polling_is_kept_and_mends_itself() {
    a_copy_is_kept_and_mends_itself("poll");
}

#[test]
fn a_list_is_followed() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    wait_until("the copy has it", || ids(&of_copy(&mesh, "anna")) == ["tiny-forest"]);
    let follow = Process::start(&mut mesh.command(&["list", "anna", "--follow"]));
    let line = follow.json_line();
    assert_eq!((&line["change"], &line["title"]), (&json!("gets"), &json!("Tiny Forest")));
    mesh.run(&["grant", "bo", "hollow-comet"]).json();
    mesh.run(&["buy", "anna", "hollow-comet"]).json();
    assert_eq!(follow.json_line()["game_id"], "hollow-comet");
    // A game-list that was killed is found again, and nothing is told twice.
    signal(mesh.pid("game-list"), "KILL");
    mesh.run(&["revoke", "anna", "tiny-forest", "--reason", "refund"]).json();
    let line = follow.json_line();
    assert_eq!((&line["change"], &line["game_id"]), (&json!("loses"), &json!("tiny-forest")));
}

#[test]
fn a_watch_is_narrowed() {
    let mesh = Mesh::start();
    for (customer, game) in [("anna", "tiny-forest"), ("bo", "tiny-forest"), ("anna", "hollow-comet")] {
        mesh.run(&["grant", customer, game]).json();
    }
    let revisions = |arguments: &[&str], commits: usize| -> Vec<u64> {
        let watch = Process::start(&mut mesh.command(&[&["watch", "--earliest"], arguments].concat()));
        (0..commits).map(|_| watch.json_line()["revision"].as_u64().unwrap()).collect()
    };
    assert_eq!(revisions(&[], 3), [1, 2, 3]);
    assert_eq!(revisions(&["--customer", "anna"], 2), [1, 3]);
    assert_eq!(revisions(&["--game", "hollow-comet"], 1), [3]);
    let partition = gameshelf::digest::partition("bo").to_string();
    assert_eq!(revisions(&["--partition", &partition], 1), [2]);
}
