//! What each service says that it is.

use gameshelf::{packages, services};
use mesh::environment::Environment;
use mesh::outbound::{Outbound, OutboundConfig};
use mesh::proto::v1::DescribeRequest;
use mesh::proto::v1::mesh_service_client::MeshServiceClient;
use mesh::version::{Description, Requirement, Version, of_package};

use crate::harness::Mesh;

/// What the services of a mesh say, in the order of their ports.
fn descriptions(mesh: &Mesh) -> Vec<Description> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let describe = |port: u16| async move {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let outbound = Outbound::new("service", &address, &OutboundConfig::default(), &Environment::system());
        let answer = MeshServiceClient::new(outbound.calls()).describe(DescribeRequest {}).await.unwrap();
        assert!(answer.metadata().contains_key("mesh-version"), "each answer tells who gave it");
        Description::try_from(answer.into_inner()).unwrap()
    };
    (mesh.port_base..mesh.port_base + 4).map(|port| runtime.block_on(describe(port))).collect()
}

/// What they should say.
fn expected(version: &Version, requirement: &Requirement) -> [Description; 4] {
    let described = |name, package: packages::Package| {
        Description::new(name, version.clone()).serving(package.name, package.version)
    };
    let requires = requirement.clone();
    [
        described(services::ARBITER, packages::ARBITER),
        described(services::PURCHASE, packages::PURCHASE)
            .requiring(services::ARBITER, requires.clone())
            .requiring(services::PAYMENT, requires.clone()),
        described(services::GAME_LIST, packages::GAME_LIST).requiring(services::ARBITER, requires),
        described(services::PAYMENT, packages::PAYMENT),
    ]
}

#[test]
fn every_service_says_its_name_its_version_what_it_requires_and_what_it_serves() {
    let mesh = Mesh::start();
    let version = of_package(env!("CARGO_PKG_VERSION"));
    assert_eq!(descriptions(&mesh), expected(&version, &format!("^{version}").parse().unwrap()));
}

#[test]
fn a_mesh_of_another_version_works_where_it_is_required() {
    let variables = ["GAMESHELF_ARBITER_REQUIRES", "GAMESHELF_PAYMENT_REQUIRES"].map(|name| (name, "^7.1"));
    let version = [("GAMESHELF_SERVICE_VERSION", "7.2.0")];
    let mesh = Mesh::start_with(&[], &[&variables[..], &version].concat());
    assert_eq!(descriptions(&mesh), expected(&Version::new(7, 2, 0), &"^7.1".parse().unwrap()));
    assert_eq!(mesh.run(&["buy", "anna", "tiny-forest"]).json()["state"], "completed");
    assert_eq!(mesh.games("anna"), ["tiny-forest"]);
}
