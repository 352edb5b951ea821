//! Exports, which an import reads, and copies.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use gameshelf::proto::arbiter::v1::GetDigestsRequest;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use mesh::environment::Environment;
use mesh::outbound::{Outbound, OutboundConfig};

use crate::harness::{Mesh, gameshelf, project_file};

/// A mesh with the sample, and a rental.
fn mesh_with_games() -> Mesh {
    let mesh = Mesh::start();
    let (file, catalog) = (project_file("samples/ownership.csv"), project_file("samples/catalog.csv"));
    let arguments = ["import", &file.display().to_string(), "--catalog", &catalog.display().to_string()]
        .map(str::to_owned);
    mesh.run(&arguments.each_ref().map(String::as_str)).json();
    mesh.run(&["grant", "\"an, \"odd\" one\"", "hollow-comet", "--until", "7d"]).json();
    mesh
}

#[test]
fn an_import_of_an_export_gives_an_equal_store() {
    let mesh = mesh_with_games();
    for format in ["csv", "jsonl"] {
        let file = mesh.data_dir.path().join(format!("export.{format}"));
        let file = file.display().to_string();
        let exported = mesh.run(&["export", &file, "--format", format]).json();
        assert_eq!((&exported["rows"], &exported["revision"]), (&15.into(), &2.into()));
        let stdout = mesh.run(&["export", "-", "--format", format]);
        assert_eq!(stdout.stdout, fs::read_to_string(&file).unwrap(), "standard output has the rows alone");
        let empty = Mesh::start();
        let imported = empty.run(&["import", &file]).json();
        assert_eq!((&imported["granted"], &imported["rejected"]), (&15.into(), &0.into()));
        assert_eq!(contents(&empty), contents(&mesh), "content digests, {format}");
        empty.run(&["revoke", "1001", "tiny-forest", "--reason", "refund"]).json();
        assert_ne!(contents(&empty), contents(&mesh), "they tell one row");
    }
    let left = fs::read_dir(mesh.data_dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("partial")));
}

/// The content digests of a mesh, and its numbers of rows.
fn contents(mesh: &Mesh) -> (Vec<u8>, Vec<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let digests = runtime.block_on(async {
        let address = format!("127.0.0.1:{}", mesh.port_base).parse().unwrap();
        let outbound = Outbound::new("arbiter", &address, &OutboundConfig::default(), &Environment::system());
        ArbiterServiceClient::new(outbound.calls())
            .get_digests(GetDigestsRequest {})
            .await
            .unwrap()
            .into_inner()
    });
    (digests.content_digests, digests.rows)
}

#[test]
fn a_revision_that_is_not_known_is_refused_and_leaves_no_file() {
    let mesh = mesh_with_games();
    let file = mesh.data_dir.path().join("export.csv");
    let done = mesh.run(&["export", &file.display().to_string(), "--as-of", "99"]);
    assert_ne!(done.code, 0, "{done:?}");
    assert!(!file.exists());
}

#[test]
fn an_export_shows_one_revision_while_writes_go_on() {
    // More rows than one statement reads, so that there is time for writes between two of them.
    let mesh = Mesh::start();
    let rows = (0..6_000).map(|number| format!("customer-{number},tiny-forest,"));
    let lines: Vec<String> = std::iter::once("customer_id,game_id,end_time".to_owned()).chain(rows).collect();
    let file = mesh.data_dir.path().join("many.csv");
    fs::write(&file, lines.join("\n")).unwrap();
    mesh.run(&["import", &file.display().to_string()]).json();
    mesh.run(&["grant", "aa", "tiny-forest"]).json();
    let (stop, port_base) = (AtomicBool::new(false), mesh.port_base.to_string());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A game that moves from the first customer to the last and back: it is always owned by exactly one of them.
            for (from, to) in [("aa", "zz"), ("zz", "aa")].into_iter().cycle() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let done = gameshelf()
                    .args(["--port-base", &port_base, "transfer", from, to, "tiny-forest"])
                    .output()
                    .unwrap();
                assert!(done.status.success(), "{done:?}");
            }
        });
        let mut revisions = BTreeSet::new();
        while revisions.len() < 5 {
            let exported = mesh.run(&["export", "-", "--format", "csv"]).stdout;
            let owners: Vec<&str> =
                exported.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
            let moving = owners.iter().filter(|owner| ["aa", "zz"].contains(*owner)).count();
            assert_eq!((owners.len(), moving), (6_001, 1));
            revisions.insert(mesh.run(&["copies"]).json()["revision"].as_u64().unwrap());
        }
        stop.store(true, Ordering::SeqCst);
    });
}
