//! Checks of what is stored against the digests that the arbiter keeps.

use serde_json::json;

use crate::harness::{self, Mesh, project_file};

/// A mesh with the sample, and what was taken again.
fn mesh_with_games(environment: &[(&str, &str)]) -> Mesh {
    let mesh = Mesh::start_with(&[], environment);
    let (file, catalog) = (project_file("samples/ownership.csv"), project_file("samples/catalog.csv"));
    let (file, catalog) = (file.display().to_string(), catalog.display().to_string());
    mesh.run(&["import", &file, "--catalog", &catalog]).json();
    mesh.run(&["revoke", "1001", "tiny-forest", "--reason", "refund"]).json();
    mesh.run(&["grant", "1001", "tiny-forest", "--until", "7d"]).json();
    mesh.run(&["transfer", "1001", "new", "tiny-forest"]).json();
    mesh
}

/// Stops the mesh, damages its store, and starts it again.
fn damage(mesh: &mut Mesh, statement: &'static str) {
    mesh.stop();
    let store = mesh.data_dir.path().join("arbiter/store.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(store);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        assert_eq!(sqlx::query(statement).execute(&pool).await.unwrap().rows_affected(), 1);
        pool.close().await;
    });
    mesh.start_again();
}

#[test]
fn what_is_stored_and_what_the_log_adds_up_to_are_what_the_digests_say() {
    let mesh = mesh_with_games(&[]);
    for (arguments, commits) in [
        (&["check", "--only", "data"][..], 0),
        (&["check", "--replay"], 4),
        (&["check", "--replay", "--rows-at-once", "3"], 4),
    ] {
        let checked = mesh.run(arguments).json();
        let expected =
            json!({"equal": true, "rows": 14, "commits": commits, "revision": 4, "differing_partitions": []});
        assert_eq!(checked, expected, "{arguments:?}");
    }
    let empty = Mesh::start();
    assert_eq!(empty.run(&["check", "--replay"]).json()["equal"], true);
}

#[test]
fn a_row_that_is_lost_from_the_store_is_found_by_its_partition() {
    let mut mesh = mesh_with_games(&[]);
    damage(&mut mesh, "DELETE FROM entitlement WHERE customer_id = 'new'");
    let done = mesh.run(&["check", "--only", "data"]);
    assert_eq!(done.code, 3, "{done:?}");
    let checked: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let partition = gameshelf::digest::partition("new");
    let difference = json!({"partition": partition, "rows": 0, "expected_rows": 1, "contradictions": 0});
    assert_eq!(checked["differing_partitions"], json!([difference]));
    assert_eq!(mesh.run(&["check", "--replay"]).code, 0, "the log is whole");
    let mut table = harness::gameshelf();
    table.args(["--port-base", &mesh.port_base.to_string(), "check", "--only", "data"]);
    let told = String::from_utf8(table.output().unwrap().stdout).unwrap();
    assert!(told.starts_with("1 partition not as the digests say, at revision 4:"), "{told}");
}

#[test]
fn digests_that_the_log_does_not_add_up_to_are_found_by_a_replay() {
    // Each commit comes with a checkpoint; the last one then says that it is of one revision earlier than it is.
    let mut mesh = mesh_with_games(&[("GAMESHELF_ARBITER_DIGEST_CHECKPOINT_CHANGES", "1")]);
    damage(&mut mesh, "UPDATE digest_checkpoint SET revision = revision - 1");
    let done = mesh.run(&["check", "--replay"]);
    assert_eq!(done.code, 3, "{done:?}");
    let checked: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let differing =
        checked["differing_partitions"].as_array().unwrap().iter().map(|one| one["partition"].clone());
    let mut expected = ["1001", "new"].map(|customer| json!(gameshelf::digest::partition(customer)));
    expected.sort_by_key(serde_json::Value::as_u64);
    assert!(differing.eq(expected), "the last commit counts twice: {checked}");
}
