//! Limited editions: each copy is sold once.

use serde_json::{Value, json};

use crate::harness::{Mesh, Process, wait_until};

/// How many copies there are, are sold, reserved and left.
fn stock(mesh: &Mesh, game: &str) -> [u64; 4] {
    let stock = mesh.run(&["stock", game]).json();
    ["total", "sold", "reserved", "left"].map(|field| stock[field].as_u64().unwrap())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn of_five_who_want_the_last_two_copies_two_get_one() {
    let mesh = Mesh::start();
    assert_eq!(mesh.run(&["stock", "tiny-forest"]).error(6)["reason"], "STOCK_UNKNOWN");
    assert_eq!(mesh.run(&["stock", "tiny-forest", "--set", "2"]).json()["revision"], 1);
    let customers = ["anna", "bo", "cleo", "dora", "emil"];
    let grants =
        customers.map(|customer| Process::start(&mut mesh.command(&["grant", customer, "tiny-forest"])));
    let mut codes = grants.map(|mut grant| {
        let code = grant.end().code().unwrap();
        assert_eq!(code == 3, grant.stderr().contains("OUT_OF_STOCK"), "{}", grant.stderr());
        code
    });
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 3, 3, 3]);
    let owners = customers.into_iter().filter(|customer| !mesh.games(customer).is_empty());
    assert_eq!(owners.count(), 2);
    assert_eq!(stock(&mesh, "tiny-forest"), [2, 2, 0, 0]);
    assert_eq!(mesh.run(&["stock", "tiny-forest", "--set", "1"]).error(3)["reason"], "STOCK_BELOW_SOLD");
    mesh.run(&["stock", "tiny-forest", "--add", "1"]).json();
    assert_eq!(stock(&mesh, "tiny-forest"), [3, 2, 0, 1]);
}

#[test]
fn a_refusal_says_what_to_look_at_next() {
    let mesh = Mesh::start();
    mesh.run(&["stock", "tiny-forest", "--set", "0"]).json();
    let refused = mesh.run(&["grant", "anna", "tiny-forest"]).error(3);
    assert_eq!(refused["reason"], "OUT_OF_STOCK");
    let next = format!("gameshelf stock tiny-forest --port-base {}", mesh.port_base);
    assert!(text(&refused["hints"][0]).ends_with(&next), "{refused}");
}

#[test]
fn a_purchase_of_what_is_sold_out_is_refused_and_its_payment_voided() {
    let mesh = Mesh::start();
    mesh.run(&["stock", "tiny-forest", "--set", "1"]).json();
    assert_eq!(mesh.run(&["buy", "anna", "tiny-forest"]).json()["state"], "completed");
    let request_id = "01890a5d-ac96-474b-8cce-b302099a8060";
    let buy = ["buy", "bo", "tiny-forest", "--request-id", request_id];
    let refused = mesh.run(&buy).error(3);
    assert_eq!(
        (&refused["reason"], &refused["code"]),
        (&json!("OUT_OF_STOCK"), &json!("FAILED_PRECONDITION"))
    );
    assert_eq!(refused["hints"][0], "no money was taken");
    assert!(mesh.games("bo").is_empty());
    assert_eq!(payments(&mesh), ["captured", "voided"]);

    mesh.run(&["stock", "tiny-forest", "--add", "1"]).json();
    let again = mesh.run(&buy).error(3);
    assert_eq!(again["metadata"]["order_id"], refused["metadata"]["order_id"], "a refusal is kept");
    assert_eq!(mesh.run(&["buy", "bo", "tiny-forest"]).json()["state"], "completed");
}

/// How each payment stands in the provider's books, in order.
fn payments(mesh: &Mesh) -> Vec<String> {
    let books = mesh.data_dir.path().join("payment-sandbox/books.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(books).read_only(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query_scalar("SELECT state FROM payment ORDER BY state").fetch_all(&pool).await.unwrap()
    })
}

#[test]
fn a_reservation_becomes_ownership_when_it_is_confirmed() {
    let mesh = Mesh::start();
    mesh.run(&["stock", "tiny-forest", "--set", "1"]).json();
    let reserved = mesh.run(&["reserve", "anna", "tiny-forest", "--hold", "15m"]).json();
    let id = text(&reserved["reservation_id"]);
    assert_eq!(reserved["reservation_id"], reserved["request_id"]);
    assert_eq!(stock(&mesh, "tiny-forest"), [1, 0, 1, 0]);
    assert_eq!(mesh.run(&["grant", "bo", "tiny-forest"]).error(3)["reason"], "OUT_OF_STOCK");
    assert_eq!(mesh.run(&["reserve", "anna", "tiny-forest"]).error(3)["reason"], "ALREADY_RESERVED");
    assert_eq!(mesh.run(&["reservation", &id]).json()["status"], "open");

    let request_id = "01890a5d-ac96-474b-8cce-b302099a8061";
    let confirm = ["confirm", &id, "--order-id", "order-1", "--request-id", request_id];
    let confirmed = mesh.run(&confirm).json();
    assert_eq!((&confirmed["status"], &confirmed["revision"]), (&json!("confirmed"), &json!(3)));
    assert_eq!(mesh.run(&confirm).json()["replayed"], true);
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    assert_eq!(stock(&mesh, "tiny-forest"), [1, 1, 0, 0]);
    let reservation = mesh.run(&["reservation", &id]).json();
    assert_eq!((&reservation["status"], &reservation["customer_id"]), (&json!("confirmed"), &json!("anna")));
    let closed = mesh.run(&["release", &id]).error(3);
    assert_eq!(closed["reason"], "RESERVATION_CLOSED");
    assert!(text(&closed["hints"][0]).contains(&format!("gameshelf reservation {id}")), "{closed}");
}

#[test]
fn a_reservation_that_is_released_sells_its_copy_again() {
    let mesh = Mesh::start();
    mesh.run(&["stock", "tiny-forest", "--set", "1"]).json();
    let id = text(&mesh.run(&["reserve", "anna", "tiny-forest"]).json()["reservation_id"]);
    assert_eq!(mesh.run(&["release", &id]).json()["status"], "released");
    assert_eq!(mesh.run(&["grant", "bo", "tiny-forest"]).code, 0);
    assert_eq!(mesh.run(&["confirm", &id]).error(3)["reason"], "RESERVATION_CLOSED");
    let unknown = "01890a5d-ac96-474b-8cce-b302099a8062";
    assert_eq!(mesh.run(&["confirm", unknown]).error(6)["reason"], "RESERVATION_UNKNOWN");
    assert_eq!(mesh.run(&["reservation", unknown]).error(6)["reason"], "RESERVATION_UNKNOWN");
}

#[test]
fn a_reservation_whose_time_ran_out_holds_nothing_and_cannot_be_confirmed() {
    let mesh = Mesh::start();
    mesh.run(&["stock", "tiny-forest", "--set", "1"]).json();
    let reserved = mesh.run(&["reserve", "anna", "tiny-forest", "--hold", "300ms"]).json();
    let id = text(&reserved["reservation_id"]);
    wait_until("the reservation has expired", || {
        mesh.run(&["reservation", &id]).json()["status"] == "expired"
    });
    let refused = mesh.run(&["confirm", &id]).error(3);
    assert_eq!(refused["reason"], "RESERVATION_EXPIRED");
    assert!(mesh.games("anna").is_empty());
    assert_eq!(stock(&mesh, "tiny-forest"), [1, 0, 0, 1]);
    assert_eq!(mesh.run(&["grant", "bo", "tiny-forest"]).code, 0);
}
