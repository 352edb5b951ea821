//! What keeps the service from starting is one clear error.

use mesh::environment::Environment;
use tempfile::tempdir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::arbiter::FakeArbiter;
use crate::support::{GameList, config};

async fn refused(config: game_list::Config) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let run = game_list::run(config, Environment::system(), listener, CancellationToken::new());
    Box::pin(run).await.expect_err("it does not start").to_string()
}

#[tokio::test]
async fn a_wrong_catalogue_is_refused_with_its_line() {
    let directory = tempdir().unwrap();
    let mut arbiter = FakeArbiter::start();
    arbiter.go_down();
    let config = config(directory.path(), &arbiter, &[]);
    let catalog = config.catalog.from.file.clone().unwrap();
    std::fs::write(&catalog, "game_id,title\n").unwrap();
    assert!(refused(config.clone()).await.contains("catalog.csv: line 1: the header must be"));
    std::fs::remove_file(&catalog).unwrap();
    assert!(refused(config).await.contains("catalog.csv: "));
}

#[tokio::test]
async fn a_copy_in_use_is_refused() {
    let directory = tempdir().unwrap();
    let arbiter = FakeArbiter::start();
    let first = GameList::start(directory.path(), &arbiter, &[]).await;
    first.shows(arbiter.grant("me", "a")).await;
    let second = refused(config(directory.path(), &arbiter, &["--database-lock-wait-ms=0"])).await;
    assert!(second.contains("in use by another process"), "{second}");
    first.stop().await;
}
