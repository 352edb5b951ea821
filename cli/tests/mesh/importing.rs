//! Taking over who owns what.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Done, Mesh, Process, project_file, signal};

/// As many customers as it takes to be interrupted on the way; each has these games.
const CUSTOMERS: usize = 300;
const GAMES: [&str; 3] = ["Tiny Forest", "Marrow Vale", "Gravel Kings"];
/// Each customer is a request, and so a revision.
const SMALL: [&str; 2] = ["--changes-per-request", "3"];

fn counts(done: &Done) -> [Value; 4] {
    let mut json = done.json();
    ["granted", "already_owned", "rejected", "customers"].map(|name| json[name].take())
}

fn import_arguments(file: &Path) -> [String; 4] {
    let catalog = project_file("samples/catalog.csv");
    ["import".to_owned(), file.display().to_string(), "--catalog".to_owned(), catalog.display().to_string()]
}

fn import(mesh: &Mesh, file: &Path) -> Done {
    mesh.run(&import_arguments(file).each_ref().map(String::as_str))
}

fn import_small(mesh: &Mesh, file: &Path) -> Done {
    let arguments = import_arguments(file);
    mesh.run(&[&arguments.each_ref().map(String::as_str)[..], &SMALL].concat())
}

/// A file of as many requests as customers.
fn large_file(mesh: &Mesh) -> PathBuf {
    let mut text = "customer_id,game_title\n".to_owned();
    for customer in 0..CUSTOMERS {
        for game in GAMES {
            writeln!(text, "customer-{customer},{game}").unwrap();
        }
    }
    let path = mesh.data_dir.path().join("large.csv");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_sample_is_imported_once_however_often() {
    let mesh = Mesh::start();
    let file = project_file("samples/ownership.csv");
    let first = import(&mesh, &file);
    assert_eq!(counts(&first), [json!(14), json!(4), json!(8), json!(6)]);
    assert_eq!(first.json()["revision"], 1, "one commit");
    let again = import(&mesh, &file);
    assert_eq!(counts(&again), [json!(0), json!(18), json!(8), json!(0)]);
    assert_eq!(again.json()["revision"], 1);
    let empty = mesh.data_dir.path().join("empty.csv");
    fs::write(&empty, "customer_id,game_title\n").unwrap();
    assert_eq!(import(&mesh, &empty).json()["revision"], 1, "nothing to send has the newest revision");
    assert_eq!(
        mesh.games("1001"),
        ["lanterns-of-the-deep", "rail-garden-2", "salt-and-signal", "tiny-forest"]
    );
}

#[test]
fn each_rejected_row_is_named_with_line_and_reason() {
    let mesh = Mesh::start();
    assert_eq!(
        import(&mesh, &project_file("samples/ownership.csv")).json()["rejects_file"],
        "ownership.rejects.csv"
    );
    let rejects = fs::read_to_string(mesh.data_dir.path().join("ownership.rejects.csv")).unwrap();
    let expected = [
        "line,reason,customer_id,game_title",
        "8,no game of the catalogue has the id the-clockmakers-daughter,1002,The Clockmakers Daughter",
        "15,no game of the catalogue has the id the-lost-level,anna,\"The \"\"Lost\"\" Level\"",
        "17,no game of the catalogue has the id rail-garden-ii,bo@example.org,Rail Garden II",
        "22,customer_id must not be empty,,Hollow Comet",
        "23,game_title must not be empty,1005,",
        "24,the id of the title must not be empty,1006,!!!",
        "25,\"2 fields are needed, and there are 3\",1007,Hollow Comet",
        "27,no game of the catalogue has the id unwritten-tales,1008,Unwritten Tales",
    ];
    assert_eq!(rejects.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn an_importer_that_was_killed_is_run_again_and_ends_in_the_same_state() {
    let mesh = Mesh::start();
    let file = large_file(&mesh);
    let watch = mesh.watch();
    let arguments = import_arguments(&file);
    let mut command = mesh.command(&arguments.each_ref().map(String::as_str));
    let mut importer = Process::start(command.args(["--in-flight", "1"]).args(SMALL));
    watch.json_line();
    importer.kill();
    assert_eq!(import_small(&mesh, &file).code, 0);
    assert_all_imported(&mesh, &file);
}

#[test]
fn an_import_survives_the_death_of_the_arbiter() {
    let mesh = Mesh::start();
    let file = large_file(&mesh);
    let watch = mesh.watch();
    let arguments = import_arguments(&file);
    let mut command = mesh.command(&arguments.each_ref().map(String::as_str));
    let mut importer = Process::start(command.args(["--in-flight", "2"]).args(SMALL));
    watch.json_line();
    signal(mesh.pid("arbiter"), "KILL");
    assert_eq!(importer.end().code(), Some(0), "{}", importer.stderr());
    let imported = importer.json_line();
    assert_eq!(
        (&imported["granted"], &imported["customers"]),
        (&json!(CUSTOMERS * GAMES.len()), &json!(CUSTOMERS))
    );
    assert_all_imported(&mesh, &file);
}

/// Everything is there, and every customer's request had one effect: the revisions are as many as the customers.
fn assert_all_imported(mesh: &Mesh, file: &Path) {
    let again = import_small(mesh, file);
    assert_eq!(counts(&again), [json!(0), json!(CUSTOMERS * GAMES.len()), json!(0), json!(0)]);
    assert_eq!(again.json()["revision"], json!(CUSTOMERS));
}

#[test]
fn rows_that_the_arbiter_refuses_are_named_and_the_others_go_on() {
    let mesh = Mesh::start();
    mesh.run(&["stock", "tiny-forest", "--set", "1", "--reason", "administration"]).json();
    let file = mesh.data_dir.path().join("rare.csv");
    let rows = "customer_id,game_title\n1,Tiny Forest\n1,Marrow Vale\n2,Tiny Forest\n2,Gone\n2,Marrow Vale\n";
    fs::write(&file, rows).unwrap();
    for expected in [[json!(3), json!(0), json!(2), json!(2)], [json!(0), json!(3), json!(2), json!(0)]] {
        assert_eq!(counts(&import(&mesh, &file)), expected);
        let rejects = fs::read_to_string(mesh.data_dir.path().join("rare.rejects.csv")).unwrap();
        let expected = [
            "line,reason,customer_id,game_title",
            "4,no copy of the game is left,2,tiny-forest",
            "5,no game of the catalogue has the id gone,2,Gone",
        ];
        assert_eq!(rejects.lines().collect::<Vec<_>>(), expected);
    }
    assert_eq!(mesh.games("2"), ["marrow-vale"]);
}

#[test]
fn an_import_that_is_run_again_gives_nothing_back_that_was_taken_since() {
    let mesh = Mesh::start();
    let file = project_file("samples/ownership.csv");
    import(&mesh, &file).json();
    mesh.run(&["revoke", "1001", "tiny-forest", "--reason", "refund"]).json();
    assert_eq!(counts(&import(&mesh, &file))[0], json!(0));
    assert!(!mesh.games("1001").contains(&"tiny-forest".to_owned()));
    let arguments = import_arguments(&file);
    let other =
        [&arguments.each_ref().map(String::as_str)[..], &["--import-id", "after the refund"]].concat();
    assert_eq!(counts(&mesh.run(&other))[0], json!(1), "another import gives it again");
}
