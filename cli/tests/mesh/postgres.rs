//! The mesh on PostgreSQL.

use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::harness::Mesh;

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
