//! The catalogue changes while everything runs, and reaches those who do not share its file.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Mesh, Process, free_port_base, gameshelf, project_file, wait_until};

/// A second game-list of the mesh, which knows the catalogue from purchase alone.
struct Other<'mesh> {
    mesh: &'mesh Mesh,
    port: u16,
    process: Process,
}

impl<'mesh> Other<'mesh> {
    fn start(mesh: &'mesh Mesh, directory: &Path) -> Self {
        let port = free_port_base();
        let database = format!("sqlite:{}", directory.join("other.sqlite").display());
        let mut command = gameshelf();
        command.args(["game-list", "--database-url", &database, "--catalog-interval-ms", "20"]);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--copy-name", "other"]);
        command.args(["--arbiter-address", &format!("127.0.0.1:{}", mesh.port_base)]);
        command.args(["--purchase-address", &format!("127.0.0.1:{}", mesh.port_base + 1)]);
        Self { mesh, port, process: Process::start(&mut command) }
    }

    /// The only game of a customer as it lists it; none while it does not answer.
    fn title(&self, customer: &str) -> Option<Value> {
        let address = format!("127.0.0.1:{}", self.port);
        let done = self.mesh.run(&["list", customer, "--game-list-address", &address]);
        let list: Value = serde_json::from_str(&done.stdout).ok()?;
        Some(list["games"][0]["title"].clone())
    }

    fn shows(&self, title: &str) {
        wait_until("the title is shown", || self.title("anna") == Some(json!(title)));
    }
}

#[test]
fn a_changed_catalogue_reaches_purchase_and_a_game_list_without_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.csv");
    let text = fs::read_to_string(project_file("samples/catalog.csv")).unwrap();
    let replace = |content: &str| {
        let next = directory.path().join("next.csv");
        fs::write(&next, content).unwrap();
        fs::rename(next, &path).unwrap();
    };
    replace(&text);
    let catalog = path.display().to_string();
    let mut mesh = Mesh::start_with(&["--catalog", &catalog], &[("GAMESHELF_CATALOG_INTERVAL_MS", "20")]);
    assert_eq!(mesh.run(&["buy", "anna", "tiny-forest"]).json()["state"], "completed");
    let other = Other::start(&mesh, directory.path());
    other.shows("Tiny Forest");

    replace(&text.replace("tiny-forest,Tiny Forest,", "tiny-forest,Tiny Wood,").replace(",499,", ",599,"));
    other.shows("Tiny Wood");
    wait_until("the file's own game-list has it", || {
        mesh.run(&["list", "anna"]).json()["games"][0]["title"] == "Tiny Wood"
    });
    let failure = mesh
        .run(&["buy", "bo", "tiny-forest", "--expected-price-minor-units", "499", "--currency", "USD"])
        .error(3);
    assert_eq!(failure["reason"], "PRICE_CHANGED");
    assert_eq!(mesh.run(&["buy", "bo", "tiny-forest"]).json()["price"]["minor_units"], 599);

    drop(other);
    mesh.stop();
    let other = Other::start(&mesh, directory.path());
    other.shows("Tiny Wood");
    assert!(other.process.stderr().contains("the catalogue is not up to date"), "{}", other.process.stderr());
}
