//! Several changes at once: all of them or none.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Done, Mesh};

fn commit(mesh: &Mesh, form: &Value, more: &[&str]) -> Done {
    fs::write(mesh.data_dir.path().join("changes.json"), form.to_string()).unwrap();
    mesh.run(&[&["commit", "changes.json", "--reason", "gift"], more].concat())
}

fn pair(customer_id: &str, game_id: &str) -> Value {
    json!({ "customer_id": customer_id, "game_id": game_id })
}

#[test]
fn a_swap_between_two_customers_is_one_commit() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    mesh.run(&["grant", "bo", "marrow-vale"]).json();
    let transfer = |from: &str, to: &str, game_id: &str| json!({ "transfer": { "from_customer_id": from, "to_customer_id": to, "game_id": game_id } });
    let swap = json!({
        "preconditions": [
            { "unchanged_since": { "customer_id": "anna", "revision": 2 } },
            { "owned": pair("bo", "marrow-vale") },
        ],
        "operations": [transfer("anna", "bo", "tiny-forest"), transfer("bo", "anna", "marrow-vale")],
    });
    let request_id = ["--request-id", "01890a5d-ac96-474b-8cce-b302099a8065"];
    let done = commit(&mesh, &swap, &request_id).json();
    assert_eq!((&done["revision"], &done["results"][1]["to_customer_id"]), (&json!(3), &json!("anna")));
    assert_eq!(
        (mesh.games("anna"), mesh.games("bo")),
        (vec!["marrow-vale".into()], vec!["tiny-forest".into()])
    );
    assert_eq!(commit(&mesh, &swap, &request_id).json()["replayed"], true);
    let refused = commit(&mesh, &swap, &[]).error(3);
    assert_eq!(refused["reason"], "CHANGED_SINCE");
    assert!(refused["hints"][0].as_str().unwrap().contains("gameshelf history"), "{refused}");
}

#[test]
fn a_bundle_is_granted_whole_or_not_at_all() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    let bundle = |on_owned: &str| {
        let grants = ["hollow-comet", "tiny-forest"].map(
            |game_id| json!({ "grant": { "customer_id": "anna", "game_id": game_id, "on_owned": on_owned } }),
        );
        json!({ "preconditions": [{ "not_owned": pair("anna", "paper-armada") }], "operations": grants })
    };
    assert_eq!(commit(&mesh, &bundle("refuse"), &[]).error(3)["reason"], "ALREADY_OWNED");
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    let done = commit(&mesh, &bundle("skip"), &[]).json();
    assert_eq!(
        (&done["results"][0]["changed"], &done["results"][1]["changed"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(mesh.games("anna"), ["hollow-comet", "tiny-forest"]);
}

#[test]
fn a_form_that_is_wrong_is_named_with_its_place() {
    let mesh = Mesh::start();
    let error = commit(&mesh, &json!({ "operations": [{ "give": {} }] }), &[]).error(5);
    assert!(
        error["message"].as_str().unwrap().starts_with("changes.json: unknown variant `give`"),
        "{error}"
    );
    let error =
        commit(&mesh, &json!({ "operations": [{ "revoke": pair("anna", "No Slug") }] }), &[]).error(5);
    assert_eq!(error["fields"][0]["field"], "operations[0].revoke.game_id");
    let error = commit(&mesh, &json!({ "operations": [] }), &["--max-file-bytes", "3"]).error(5);
    assert!(error["message"].as_str().unwrap().ends_with("over 3 bytes"), "{error}");
}

#[test]
fn a_commit_is_read_from_standard_input() {
    let mesh = Mesh::start();
    let mut command = mesh.command(&["commit", "-", "--reason", "gift"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let form = json!({ "operations": [{ "grant": pair("anna", "tiny-forest") }] });
    child.stdin.take().unwrap().write_all(form.to_string().as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
}
