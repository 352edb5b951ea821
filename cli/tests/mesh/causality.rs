//! What was done through one service is seen through another, whatever lies between.

use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Any, Freshness, Source};
use gameshelf::proto::gamelist::v1::game_list_service_client::GameListServiceClient;
use gameshelf::proto::gamelist::v1::{ListGamesRequest, ListGamesResponse};
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use gameshelf::proto::purchase::v1::{BuyRequest, OrderState};
use mesh::causal::Session;
use mesh::environment::Environment;
use mesh::outbound::{Calls, Outbound, OutboundConfig};
use uuid::Uuid;

use crate::harness::{Mesh, Process, free_port_base, gameshelf, project_file, signal, wait_until};

/// A game-list beside that of the mesh, whose copy goes no further: it has lost the arbiter once, and follows it again long
/// after the test.
fn lagging(mesh: &Mesh) -> (Process, u16) {
    let port = free_port_base();
    let mut command = gameshelf();
    command.args(["game-list", "--follow=poll", "--copy-name=lagging"]);
    command.args(["--backoff-base-ms=3600000", "--backoff-max-ms=3600000"]);
    command.arg(format!("--listen=127.0.0.1:{port}"));
    command.arg(format!("--arbiter-address=127.0.0.1:{}", mesh.port_base));
    command.arg(format!("--catalog={}", project_file("samples/catalog.csv").display()));
    command.arg(format!("--database-url=sqlite:{}", mesh.data_dir.path().join("lagging.sqlite").display()));
    let game_list = Process::start(&mut command);
    let address = format!("127.0.0.1:{port}");
    wait_until("its copy has what there is", || {
        let list = mesh.run(&["list", "anna", "--freshness", "any", "--game-list-address", &address]);
        list.code == 0 && list.json()["source"] == "local_copy" && list.json()["revision"] == 1
    });
    // A supervisor that stands still starts nothing again.
    signal(mesh.up.pid(), "STOP");
    signal(mesh.pid("arbiter"), "KILL");
    wait_until("it has lost the arbiter", || game_list.stderr().contains("the arbiter is not followed"));
    signal(mesh.up.pid(), "CONT");
    wait_until("the arbiter is back", || mesh.up.stderr().contains("arbiter serves again"));
    (game_list, port)
}

fn calls(port: u16) -> Calls {
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    Outbound::new("service", &address, &OutboundConfig::default(), &Environment::system()).calls()
}

async fn buy(port: u16, game_id: &str) {
    let request = BuyRequest {
        request_id: Uuid::now_v7().to_string(),
        customer_id: "anna".to_owned(),
        game_id: game_id.to_owned(),
        payment_token: "approve".to_owned(),
        expected_price: None,
    };
    let order = PurchaseServiceClient::new(calls(port)).buy(request).await.unwrap().into_inner().order;
    assert_eq!(order.unwrap().state(), OrderState::Completed);
}

/// The games, and where the answer came from.
async fn list(port: u16) -> (Vec<String>, Source) {
    let request = ListGamesRequest {
        customer_id: "anna".to_owned(),
        freshness: Some(Freshness { requirement: Some(Requirement::Any(Any {})) }),
        ..ListGamesRequest::default()
    };
    let answer = GameListServiceClient::new(calls(port)).list_games(request).await.unwrap().into_inner();
    let ListGamesResponse { games, provenance, .. } = answer;
    (games.into_iter().map(|game| game.game_id).collect(), provenance.unwrap().source())
}

#[test]
fn who_buys_and_then_lists_in_one_session_sees_the_game_although_the_copy_is_behind() {
    let mesh = Mesh::start();
    mesh.run(&["grant", "anna", "marrow-vale"]).json();
    let (_game_list, lagging) = lagging(&mesh);
    let purchase = mesh.port_base + 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = Session::new();
        session.run(buy(purchase, "tiny-forest")).await;
        assert_eq!(list(lagging).await, (vec!["marrow-vale".to_owned()], Source::LocalCopy), "it is behind");
        let (games, source) = session.run(list(lagging)).await;
        assert_eq!(
            (games, source),
            (vec!["marrow-vale".to_owned(), "tiny-forest".to_owned()], Source::Arbiter)
        );
        let other = Session::new();
        assert_eq!(
            other.run(list(lagging)).await.1,
            Source::LocalCopy,
            "who has seen nothing is served as before"
        );
    });
}
