//! The mesh on PostgreSQL.

use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::harness::{Mesh, wait_until};

/// A new database on the tests' server.
pub(crate) fn new_database(name: &str) -> String {
    let server = std::env::var("GAMESHELF_TEST_POSTGRES_URL").expect(
        "GAMESHELF_TEST_POSTGRES_URL must name a PostgreSQL server of the tests' own: ./test starts one",
    );
    let name = format!("{name}_{}", std::process::id());
    let create = async {
        let options: PgConnectOptions = server.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(create);
    let (server, _database) = server.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

#[test]
fn the_whole_way_and_a_restart_on_postgresql() {
    let (arbiter, purchase) = (new_database("mesh_arbiter"), new_database("mesh_purchase"));
    let mut mesh =
        Mesh::start_with(&["--arbiter-database-url", &arbiter, "--purchase-database-url", &purchase], &[]);
    let buy = ["buy", "anna", "tiny-forest", "--request-id", "01890a5d-ac96-474b-8cce-b302099a8057"];
    let order = mesh.run(&buy).json();
    assert_eq!((&order["state"], &order["revision"]), (&json!("completed"), &json!(1)));
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    assert_eq!(mesh.run(&["buy", "anna", "tiny-forest"]).error(3)["reason"], "ALREADY_OWNED");

    assert_eq!(mesh.stop().code(), Some(0), "{}", mesh.up.stderr());
    mesh.start_again();
    let again = mesh.run(&buy).json();
    assert_eq!((&again["order_id"], &again["replayed"]), (&order["order_id"], &json!(true)));
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    assert_eq!(mesh.run(&["grant", "anna", "marrow-vale"]).json()["revision"], 2);
    let embedded = ["arbiter", "purchase"].map(|service| mesh.data_dir.path().join(service).exists());
    assert_eq!(embedded, [false, false], "nothing is kept beside PostgreSQL");
}

#[test]
fn limited_editions_trials_and_history_outlive_a_restart_on_postgresql() {
    let arbiter = new_database("mesh_editions");
    let mut mesh = Mesh::start_with(&["--arbiter-database-url", &arbiter], &[]);
    mesh.run(&["stock", "tiny-forest", "--set", "2"]).json();
    let reserve = |customer, hold| {
        let reserved = mesh.run(&["reserve", customer, "tiny-forest", "--hold", hold]).json();
        reserved["reservation_id"].as_str().unwrap().to_owned()
    };
    mesh.run(&["confirm", &reserve("anna", "1h")]).json();
    let run_out = reserve("bo", "1s");
    mesh.run(&["grant", "cleo", "marrow-vale", "--until", "2s"]).json();

    assert_eq!(mesh.stop().code(), Some(0), "{}", mesh.up.stderr());
    mesh.start_again();
    wait_until("what ran out is off the list", || mesh.games("cleo").is_empty());
    wait_until("the reservation has run out", || {
        mesh.run(&["reservation", &run_out]).json()["status"] == "expired"
    });
    assert_eq!(mesh.run(&["confirm", &run_out]).error(3)["reason"], "RESERVATION_EXPIRED");
    mesh.run(&["grant", "cleo", "tiny-forest"]).json();
    let stock = mesh.run(&["stock", "tiny-forest"]).json();
    assert_eq!([&stock["sold"], &stock["left"]], [&json!(2), &json!(0)]);
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
    let history = mesh.run(&["history", "cleo"]).json();
    assert_eq!(history["ownerships"][0]["ended"]["reason"], "expiry");
    assert_eq!(history["ownerships"][1]["game_id"], "tiny-forest");
    let then = mesh.run(&["list", "anna", "--as-of", "3"]).json();
    assert_eq!(then["games"][0]["since_revision"], 3);
}
