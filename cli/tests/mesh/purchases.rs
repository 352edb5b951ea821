//! Buying, and what is seen of it.

use serde_json::json;

use crate::harness::{Mesh, Process, wait_for};

const REQUEST_ID: &str = "01890a5d-ac96-474b-8cce-b302099a8057";

#[test]
fn a_purchase_is_seen_on_the_list_and_told_by_watch() {
    let mesh = Mesh::start();
    let watch = mesh.watch();
    let order = mesh.run(&["buy", "anna", "tiny-forest"]).json();
    assert_eq!(order["state"], "completed");
    assert_eq!((&order["customer_id"], &order["game_id"]), (&json!("anna"), &json!("tiny-forest")));
    assert_eq!(order["price"], json!({ "currency": "USD", "minor_units": 499 }));
    assert_eq!((&order["revision"], &order["replayed"]), (&json!(1), &json!(false)));

    let list = mesh.run(&["list", "anna"]).json();
    let game = json!({ "game_id": "tiny-forest", "title": "Tiny Forest", "since_revision": 1 });
    assert_eq!(list["games"], json!([game]));
    assert_eq!((&list["customer_id"], &list["revision"]), (&json!("anna"), &json!(1)));
    assert_eq!(
        (&list["source"], &list["degraded"], &list["age_ms"]),
        (&json!("arbiter"), &json!(false), &json!(0))
    );
    assert_eq!(list["catalog_hash"], order["catalog_hash"]);

    let commit = watch.json_line();
    assert_eq!((&commit["type"], &commit["revision"]), (&json!("commit"), &order["revision"]));
    assert_eq!((&commit["reason"], &commit["order_id"]), (&json!("purchase"), &order["order_id"]));
    let change = json!({ "kind": "granted", "customer_id": "anna", "game_id": "tiny-forest" });
    assert_eq!(commit["changes"], json!([change]));

    let refused = mesh.run(&["buy", "anna", "tiny-forest"]).error(3);
    assert_eq!(
        (&refused["reason"], &refused["code"]),
        (&json!("ALREADY_OWNED"), &json!("FAILED_PRECONDITION"))
    );
    assert_eq!(refused["metadata"]["customer_id"], "anna");
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
}

#[test]
fn a_write_is_read_at_any_freshness_that_asks_for_it() {
    let mesh = Mesh::start();
    let token = mesh.run(&["grant", "anna", "marrow-vale"]).json()["token"].as_str().unwrap().to_owned();
    for freshness in [["--token", &token], ["--freshness", "strong"]] {
        let list = mesh.run(&["list", "anna", freshness[0], freshness[1]]).json();
        assert_eq!(list["games"][0]["game_id"], "marrow-vale", "{freshness:?}");
    }
    let list = wait_for("the copy has heard from the arbiter", || {
        let list = mesh.run(&["list", "anna", "--at-most-ms", "60000"]).json();
        (list["source"] == "local_copy").then_some(list)
    });
    assert_eq!(list["degraded"], false);
    assert!(list["age_ms"].as_u64().is_some_and(|age_ms| age_ms <= 60_000), "{list}");
    assert_eq!(mesh.run(&["list", "anna", "--token", "made-up"]).error(5)["reason"], "INVALID_FIELDS");
}

#[test]
fn a_request_id_again_is_the_same_order() {
    let mesh = Mesh::start();
    let buy = |game| mesh.run(&["buy", "anna", game, "--request-id", REQUEST_ID]);
    let first = buy("tiny-forest").json();
    let again = buy("tiny-forest").json();
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    assert_eq!((&first["order_id"], &first["revision"]), (&again["order_id"], &again["revision"]));
    assert_eq!(buy("marrow-vale").error(5)["reason"], "REQUEST_ID_REUSED");
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
}

#[test]
fn a_purchase_that_cannot_be_is_refused_with_a_reason_and_gives_nothing() {
    let mesh = Mesh::start();
    let reason =
        |arguments: &[&str]| mesh.run(&[&["buy", "anna"], arguments].concat()).error(3)["reason"].clone();
    assert_eq!(reason(&["no-such-game"]), "GAME_UNKNOWN");
    assert_eq!(reason(&["gravel-kings"]), "GAME_DELISTED");
    assert_eq!(reason(&["tiny-forest", "--payment-token", "decline"]), "PAYMENT_DECLINED");
    let wrong_price = ["--expected-price-minor-units", "1", "--currency", "USD"];
    assert_eq!(reason(&[&["tiny-forest"], &wrong_price[..]].concat()), "PRICE_CHANGED");
    assert!(mesh.games("anna").is_empty());

    let right_price = ["--expected-price-minor-units", "499", "--currency", "USD"];
    let order = mesh.run(&[&["buy", "anna", "tiny-forest"], &right_price[..]].concat()).json();
    assert_eq!(order["state"], "completed");
}

#[test]
fn a_free_game_and_a_payment_whose_answer_is_lost_are_completed() {
    let mesh = Mesh::start();
    let order = mesh.run(&["buy", "anna", "pocket-orchard"]).json();
    assert_eq!((&order["state"], &order["price"]["minor_units"]), (&json!("completed"), &json!(0)));
    let order = mesh.run(&["buy", "anna", "hollow-comet", "--payment-token", "lose-1"]).json();
    assert_eq!(order["state"], "completed");
    assert_eq!(mesh.games("anna"), ["hollow-comet", "pocket-orchard"]);
}

#[test]
fn of_two_purchases_of_one_game_at_once_one_is_refused() {
    let mesh = Mesh::start();
    let buys = [0, 1].map(|_| Process::start(&mut mesh.command(&["buy", "anna", "tiny-forest"])));
    let codes = buys.map(|mut buy| buy.end().code().unwrap());
    assert!(codes == [0, 3] || codes == [3, 0], "{codes:?}");
}

#[test]
fn grant_and_revoke_change_all_games_or_none() {
    let mesh = Mesh::start();
    let granted = mesh.run(&["grant", "bo", "tiny-forest", "gravel-kings", "--reason", "gift"]).json();
    assert_eq!(granted["results"][1], json!({ "game_id": "gravel-kings", "status": "granted" }));
    let refused = mesh.run(&["grant", "bo", "marrow-vale", "tiny-forest"]).error(3);
    assert_eq!(refused["reason"], "ALREADY_OWNED");
    assert_eq!(mesh.games("bo"), ["gravel-kings", "tiny-forest"]);

    let skipped = mesh.run(&["grant", "bo", "marrow-vale", "tiny-forest", "--on-owned", "skip"]).json();
    assert_eq!(skipped["results"][1]["status"], "already_owned");
    assert_eq!(mesh.run(&["revoke", "bo", "hollow-comet"]).error(3)["reason"], "NOT_OWNED");
    let revoked = mesh.run(&["revoke", "bo", "hollow-comet", "tiny-forest", "--on-not-owned", "skip"]).json();
    assert_eq!(revoked["results"][0]["status"], "not_owned");
    assert_eq!(revoked["results"][1]["status"], "revoked");
    assert_eq!(mesh.games("bo"), ["gravel-kings", "marrow-vale"]);
}

#[test]
fn a_watch_can_begin_with_the_state_or_go_on_after_a_token() {
    let mesh = Mesh::start();
    let first = mesh.run(&["grant", "bo", "tiny-forest"]).json();
    mesh.run(&["grant", "bo", "marrow-vale"]).json();
    let lines = |arguments: &[&str]| {
        let done = mesh.run(&[&["watch", "--limit", "1"], arguments].concat());
        assert_eq!(done.code, 0, "{done:?}");
        done.stdout
    };
    let token = first["token"].as_str().unwrap();
    let commit: serde_json::Value = serde_json::from_str(&lines(&["--after", token])).unwrap();
    assert_eq!((&commit["revision"], &commit["changes"][0]["game_id"]), (&json!(2), &json!("marrow-vale")));

    let watch = Process::start(&mut mesh.command(&["watch", "--snapshot"]));
    let owned =
        [watch.json_line(), watch.json_line()].map(|line| line["game_id"].as_str().unwrap().to_owned());
    assert_eq!(owned, ["marrow-vale", "tiny-forest"]);
    assert_eq!(watch.json_line()["type"], "snapshot_end");
    mesh.run(&["revoke", "bo", "tiny-forest"]).json();
    assert_eq!(watch.json_line()["changes"][0]["kind"], "revoked");
}

#[test]
fn a_list_of_several_pages_is_whole() {
    let mesh = Mesh::start_with(&[], &[("GAMESHELF_GAME_LIST_PAGE_SIZE_DEFAULT", "2")]);
    let games = ["gravel-kings", "hollow-comet", "marrow-vale", "paper-armada", "tiny-forest"];
    let granted = mesh.run(&[&["grant", "anna"], &games[..]].concat()).json();
    assert_eq!(mesh.games("anna"), games);
    let from_the_copy = wait_for("the copy has the games", || {
        let list = mesh.run(&["list", "anna", "--freshness", "any"]).json();
        (list["revision"] == granted["revision"]).then_some(list)
    });
    assert_eq!(from_the_copy["source"], "local_copy");
    assert_eq!(from_the_copy["games"].as_array().unwrap().len(), games.len());
}
