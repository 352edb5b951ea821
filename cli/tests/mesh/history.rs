//! What was, and why.

use serde_json::{Value, json};

use crate::harness::{Done, Mesh, wait_until};

/// What `why` says. It ends with 0 when the game is owned, and with 3 when not, and says it in both cases.
#[track_caller]
fn why(mesh: &Mesh, arguments: &[&str], owned: bool) -> Value {
    let done: Done = mesh.run(&[&["why"], arguments].concat());
    assert_eq!(done.code, if owned { 0 } else { 3 }, "{done:?}");
    assert!(done.stderr.is_empty(), "an answer is no error: {done:?}");
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(answer["owned"], owned);
    answer
}

/// Grant, revoke, grant again, transfer, refund: revisions 1 to 5.
fn changes(mesh: &Mesh) {
    let bought = ["--reason", "purchase", "--actor", "shop", "--order-id", "order-1"];
    mesh.run(&[&["grant", "anna", "tiny-forest", "marrow-vale"], &bought[..]].concat()).json();
    mesh.run(&["revoke", "anna", "tiny-forest", "--reason", "chargeback", "--actor", "bank"]).json();
    mesh.run(&["grant", "anna", "tiny-forest", "--reason", "promotion"]).json();
    let moved = mesh.run(&["transfer", "anna", "bo", "tiny-forest"]).json();
    assert_eq!((&moved["revision"], &moved["game_ids"]), (&json!(4), &json!(["tiny-forest"])));
    mesh.run(&["revoke", "bo", "tiny-forest", "--order-id", "order-1"]).json();
}

/// What of a beginning or an end is the same in each run.
fn event(event: &Value) -> Value {
    json!([event["revision"], event["reason"], event["actor"], event["order_id"]])
}

fn history(mesh: &Mesh, arguments: &[&str]) -> Vec<[Value; 3]> {
    let history = mesh.run(&[&["history"], arguments].concat()).json();
    let ownerships = history["ownerships"].as_array().unwrap().iter();
    ownerships.map(|one| [one["game_id"].clone(), event(&one["began"]), event(&one["ended"])]).collect()
}

#[test]
fn history_tells_who_began_and_ended_each_ownership_and_why() {
    let mesh = Mesh::start();
    changes(&mesh);
    let none = json!([null, null, null, null]);
    let bought = json!([1, "purchase", "shop", "order-1"]);
    let first = [json!("tiny-forest"), bought.clone(), json!([2, "chargeback", "bank", ""])];
    let second = [json!("tiny-forest"), json!([3, "promotion", "cli", ""]), json!([4, "gift", "cli", ""])];
    let marrow_vale = [json!("marrow-vale"), bought, none];
    assert_eq!(history(&mesh, &["anna"]), [marrow_vale, first.clone(), second.clone()]);
    assert_eq!(history(&mesh, &["anna", "tiny-forest"]), [first, second]);
    let refunded =
        [json!("tiny-forest"), json!([4, "gift", "cli", ""]), json!([5, "refund", "cli", "order-1"])];
    assert_eq!(history(&mesh, &["bo"]), [refunded]);
    assert!(history(&mesh, &["cleo"]).is_empty());
}

#[test]
fn why_tells_what_makes_a_game_owned_or_not() {
    let mesh = Mesh::start();
    changes(&mesh);
    let owned = why(&mesh, &["anna", "marrow-vale"], true);
    assert_eq!(event(&owned["ownership"]["began"]), json!([1, "purchase", "shop", "order-1"]));
    let moved = why(&mesh, &["anna", "tiny-forest"], false);
    assert_eq!(event(&moved["ownership"]["ended"]), json!([4, "gift", "cli", ""]));
    let refunded = why(&mesh, &["bo", "tiny-forest"], false);
    assert_eq!(event(&refunded["ownership"]["ended"]), json!([5, "refund", "cli", "order-1"]));
    assert_eq!(why(&mesh, &["cleo", "tiny-forest"], false)["ownership"], json!(null));

    let then = why(&mesh, &["anna", "tiny-forest", "--as-of", "1"], true);
    assert_eq!((&then["revision"], &then["as_of_revision"]), (&json!(1), &json!(1)));
    let charged_back = why(&mesh, &["anna", "tiny-forest", "--as-of", "2"], false);
    assert_eq!(event(&charged_back["ownership"]["ended"]), json!([2, "chargeback", "bank", ""]));
    let ahead = mesh.run(&["why", "anna", "tiny-forest", "--as-of", "99"]).error(3);
    assert_eq!(
        (&ahead["reason"], &ahead["hints"][0]),
        (&json!("REVISION_UNKNOWN"), &json!("the newest revision is 5"))
    );
}

#[test]
fn a_list_can_be_seen_as_it_was() {
    let mesh = Mesh::start();
    changes(&mesh);
    let games = |revision: &str| {
        let list = mesh.run(&["list", "anna", "--as-of", revision]).json();
        assert_eq!(list["revision"].to_string(), revision);
        list["games"].clone()
    };
    let game = |game_id: &str, since: u64| json!({ "game_id": game_id, "since_revision": since });
    assert_eq!(games("1"), json!([game("marrow-vale", 1), game("tiny-forest", 1)]));
    assert_eq!(games("2"), json!([game("marrow-vale", 1)]));
    assert_eq!(games("3"), json!([game("marrow-vale", 1), game("tiny-forest", 3)]));
    assert_eq!(mesh.games("anna"), ["marrow-vale"]);
    assert_eq!(mesh.run(&["list", "anna", "--as-of", "99"]).error(3)["reason"], "REVISION_UNKNOWN");
}

#[test]
fn histories_and_older_lists_of_several_pages_are_whole() {
    let mesh = Mesh::start_with(&[], &[("GAMESHELF_ARBITER_PAGE_SIZE_DEFAULT", "2")]);
    let games = ["gravel-kings", "hollow-comet", "marrow-vale", "paper-armada", "tiny-forest"];
    mesh.run(&[&["grant", "anna"], &games[..]].concat()).json();
    mesh.run(&[&["revoke", "anna"], &games[..]].concat()).json();
    let read = |arguments: &[&str]| mesh.run(&[&["history", "anna"], arguments].concat()).json();
    let whole = read(&[]);
    assert_eq!((whole["ownerships"].as_array().unwrap().len(), &whole["more"]), (5, &json!(false)));
    let first = read(&["--limit", "3"]);
    assert_eq!(first["ownerships"].as_array().unwrap()[..], whole["ownerships"].as_array().unwrap()[..3]);
    assert_eq!(first["more"], true);
    let list = mesh.run(&["list", "anna", "--as-of", "1"]).json();
    assert_eq!(list["games"].as_array().unwrap().len(), 5);
}

#[test]
fn a_trial_ends_by_itself_everywhere() {
    let mesh = Mesh::start();
    let watch = mesh.watch();
    let granted = mesh.run(&["grant", "anna", "tiny-forest", "--until", "3s"]).json();
    let end_time = granted["end_time"].clone();
    assert!(end_time.is_string(), "{granted}");
    assert_eq!(watch.json_line()["changes"][0]["end_time"], end_time);
    let then = mesh.run(&["list", "anna", "--as-of", "1"]).json();
    assert_eq!(then["games"][0]["end_time"], end_time);

    wait_until("the trial is off the list", || mesh.games("anna").is_empty());
    let ended = watch.json_line();
    assert_eq!((&ended["revision"], &ended["reason"]), (&json!(2), &json!("expiry")));
    wait_until("the trial is off the copy", || {
        let copy = mesh.run(&["list", "anna", "--freshness", "any"]).json();
        copy["source"] == "local_copy" && copy["revision"] == 2 && copy["games"] == json!([])
    });
    let answer = why(&mesh, &["anna", "tiny-forest"], false);
    assert_eq!(event(&answer["ownership"]["ended"]), json!([2, "expiry", "arbiter", ""]));
    assert_eq!(answer["ownership"]["end_time"], end_time);
}

#[test]
fn an_end_that_would_not_be_the_same_again_is_refused() {
    let mesh = Mesh::start();
    let grant = |until: &str| {
        let request_id = "01890a5d-ac96-474b-8cce-b302099a8063";
        mesh.run(&["grant", "anna", "tiny-forest", "--until", until, "--request-id", request_id])
    };
    let error = grant("7d").error(5);
    assert!(error["hints"][0].as_str().unwrap().contains("--until 2"), "{error}");
    assert_eq!(grant("2020-01-01T00:00:00Z").error(3)["reason"], "END_TIME_PASSED");
    let later = "01890a5d-ac96-474b-8cce-b302099a8064";
    let far = ["grant", "anna", "tiny-forest", "--until", "2999-01-01T00:00:00Z", "--request-id", later];
    assert_eq!(mesh.run(&far).json()["replayed"], false);
    assert_eq!(mesh.run(&far).json()["replayed"], true);
}
