//! Who may use whom: what no crate can see, no crate can touch. ARCHITECTURE.md says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::harness::project_file;

/// What shows how the mesh is used: on the mesh alone.
const EXAMPLES: [&str; 1] = ["tickets"];

const SERVICES: [&str; 4] = ["arbiter", "purchase", "game-list", "payment-sandbox"];

/// Crates whose types or globals must be one in the whole program.
const ONE_VERSION: [&str; 10] = [
    "axum",
    "h2",
    "http",
    "hyper",
    "opentelemetry",
    "opentelemetry_sdk",
    "prost",
    "rustls",
    "tonic",
    "tower",
];

/// What each package may use of ours. A new package must be given a place here.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let of_a_service = BTreeSet::from(["gameshelf", "mesh", "database"]);
    let on_top = SERVICES.into_iter().chain(["gameshelf", "mesh"]).collect::<BTreeSet<_>>();
    let mut allowed = BTreeMap::from([
        ("gameshelf", BTreeSet::new()),
        ("mesh", BTreeSet::new()),
        ("database", BTreeSet::new()),
        ("copy", BTreeSet::from(["gameshelf", "mesh"])),
        ("cli", on_top.iter().copied().chain(EXAMPLES).collect()),
        ("bench", on_top),
    ]);
    allowed.extend(SERVICES.map(|service| (service, of_a_service.clone())));
    allowed.extend(EXAMPLES.map(|example| (example, BTreeSet::from(["mesh"]))));
    // The one service that keeps a copy of what the arbiter has.
    allowed.entry("game-list").or_default().insert("copy");
    allowed
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(project_file("Cargo.toml")).no_deps().exec().unwrap()
}

/// What a package is built of; what its tests use besides is its own affair.
fn built_of(package: &Package) -> impl Iterator<Item = &str> {
    let dependencies = package.dependencies.iter();
    dependencies
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
}

#[test]
fn dependencies_point_one_way() {
    let (metadata, allowed) = (metadata(), allowed());
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(ours, allowed.keys().copied().collect(), "a place for every package");
    for package in &metadata.packages {
        // Tests too: a service that tests itself with another one would know it.
        let used = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        let used: BTreeSet<&str> = used.filter(|name| ours.contains(name)).collect();
        let allowed = &allowed[package.name.as_str()];
        assert!(used.is_subset(allowed), "{} uses {used:?} and may use {allowed:?}", package.name);
    }
}

#[test]
fn only_those_who_keep_data_or_measure_can_speak_sql() {
    for package in &metadata().packages {
        // The measurement speaks it as its rivals do, on databases of their own.
        let keeps_data = ["database", "bench"].contains(&package.name.as_str())
            || SERVICES.iter().chain(&EXAMPLES).any(|name| *name == package.name.as_str());
        let speaks_sql = built_of(package).any(|name| name.starts_with("sqlx") || name == "rusqlite");
        assert!(keeps_data || !speaks_sql, "{} uses a database", package.name);
    }
}

#[test]
fn the_contract_uses_no_database_and_no_network() {
    let metadata = metadata();
    let root = metadata.packages.iter().find(|package| package.name == "gameshelf").unwrap();
    for name in ["tokio", "hyper", "sqlx", "tower", "clap"] {
        assert!(built_of(root).all(|used| used != name), "the root package uses {name}");
    }
}

#[test]
fn there_is_one_version_of_what_must_be_one() {
    let lock = fs::read_to_string(project_file("Cargo.lock")).unwrap();
    for name in ONE_VERSION {
        let versions = lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
        assert_eq!(versions, 1, "versions of {name} in Cargo.lock");
    }
}
