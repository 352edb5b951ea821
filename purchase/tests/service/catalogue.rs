//! The catalogue's file changes while the service sells.

use gameshelf::catalog::Catalog;
use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::payment::v1::State;
use gameshelf::proto::purchase::v1::get_catalog_response::Content;
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use gameshelf::proto::purchase::v1::{
    BuyRequest, CatalogPage, GetCatalogRequest, GetCatalogResponse, OrderState, Price, catalog_game,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::faults::Fault;
use crate::shop::{CATALOG, Shop, World, eventually, purchase};
use crate::trace;

const QUICK: &str = "--catalog-interval-ms=5";

/// Puts another catalogue in the place of the file, and gives its hash.
fn replace(world: &World, content: &str) -> String {
    let (next, path) = (world.directory.path().join("next.csv"), world.directory.path().join("catalog.csv"));
    std::fs::write(&next, content).unwrap();
    std::fs::rename(&next, path).unwrap();
    Catalog::parse(content.as_bytes()).map(|catalog| catalog.hash().to_owned()).unwrap_or_default()
}

async fn ask(shop: &Shop, request: GetCatalogRequest) -> Result<GetCatalogResponse, Status> {
    Ok(PurchaseServiceClient::new(shop.calls.clone()).get_catalog(request).await?.into_inner())
}

async fn uses(shop: &Shop, hash: &str) {
    eventually("the catalogue is used", async || {
        ask(shop, GetCatalogRequest::default()).await.is_ok_and(|answer| answer.catalog_hash == hash)
    })
    .await;
}

fn page(answer: GetCatalogResponse) -> CatalogPage {
    let Some(Content::Page(page)) = answer.content else { panic!("no page") };
    page
}

fn usd(minor_units: i64) -> Price {
    Price { currency: "USD".into(), minor_units }
}

#[tokio::test]
async fn a_changed_price_is_sold_for_and_the_one_from_before_is_refused() {
    let world = World::new(&[QUICK]).await;
    let shop = world.open().await;
    let hash = replace(&world, &CATALOG.replace("499", "599"));
    uses(&shop, &hash).await;
    let request = BuyRequest { expected_price: Some(usd(499)), ..purchase("paid", "approve") };
    let status = shop.buy(request).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::PriceChanged));
    assert_eq!(metadata_of(&status, "price_minor_units").as_deref(), Some("599"));
    assert_eq!(metadata_of(&status, "catalog_hash").as_ref(), Some(&hash));
    let request = BuyRequest { expected_price: Some(usd(599)), ..purchase("paid", "approve") };
    let order = shop.bought(&request).await;
    assert_eq!(
        (order.state(), order.price, order.catalog_hash),
        (OrderState::Completed, Some(usd(599)), hash)
    );
}

#[tokio::test]
async fn a_game_that_is_delisted_is_not_sold_any_more() {
    let world = World::new(&[QUICK]).await;
    let shop = world.open().await;
    let hash = replace(&world, &CATALOG.replace("paid,Paid,listed,2019,499,USD,0", "paid,Paid,delisted,,,,"));
    uses(&shop, &hash).await;
    let status = shop.buy(purchase("paid", "approve")).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::GameDelisted));
    assert!(world.script.calls().is_empty());
}

#[tokio::test]
async fn a_wrong_catalogue_is_not_used_and_the_log_says_why_once() {
    let world = World::new(&[QUICK]).await;
    let shop = world.open().await;
    let before = ask(&shop, GetCatalogRequest::default()).await.unwrap().catalog_hash;
    // The line that is wrong is the last one: no part of such a file may count.
    replace(&world, &format!("{}bad,Bad,sold,,,,\n", CATALOG.replace("499", "1")));
    let path = world.directory.path().join("catalog.csv").display().to_string();
    let warned = || trace::collector().logged(&path).into_iter().filter(|line| line.contains("WARN"));
    eventually("the file is refused", async || warned().count() > 0).await;
    let order = shop.bought(&purchase("paid", "approve")).await;
    assert_eq!((order.price, &order.catalog_hash), (Some(usd(499)), &before));
    let told = warned().next().unwrap();
    assert!(told.contains("line 5: status must be listed or delisted"), "{told}");

    std::fs::remove_file(&path).unwrap();
    eventually("the missing file is noticed", async || warned().count() > 1).await;
    let order = shop.bought(&purchase("free", "")).await;
    assert_eq!(order.catalog_hash, before);
    let hash = replace(&world, &CATALOG.replace("499", "599"));
    uses(&shop, &hash).await;
    assert_eq!(warned().count(), 2, "once for each thing that was wrong");
    let good = trace::collector().logged(&hash);
    assert!(good.iter().any(|line| line.contains("INFO") && line.contains("games=3")), "{good:?}");
}

#[tokio::test]
async fn an_order_under_way_keeps_the_price_that_it_was_made_with() {
    let world = World::new(&[QUICK]).await;
    let release = CancellationToken::new();
    world.script.next("authorize", Fault::Hold(release.clone()));
    let shop = world.open().await;
    let before = ask(&shop, GetCatalogRequest::default()).await.unwrap().catalog_hash;
    let request = purchase("paid", "approve");
    let buying = shop.buy(request.clone());
    let changing = async {
        eventually("the provider was asked", async || !world.script.calls().is_empty()).await;
        let hash =
            replace(&world, &CATALOG.replace("paid,Paid,listed,2019,499,USD,0", "paid,Paid,delisted,,,,"));
        uses(&shop, &hash).await;
        release.cancel();
    };
    let (bought, ()) = tokio::join!(buying, changing);
    let order = bought.unwrap().order.unwrap();
    assert_eq!(order.state(), OrderState::Completed);
    assert_eq!((order.price, order.catalog_hash), (Some(usd(499)), before));
    assert_eq!(world.provider.count(State::Captured), 1);
    // A repeat has its outcome, whatever the catalogue says by now.
    assert!(shop.buy(request).await.unwrap().replayed);
}

#[tokio::test]
async fn the_catalogue_is_given_in_pages_or_as_unchanged() {
    let world = World::new(&[]).await;
    let shop = world.open().await;
    let answer = ask(&shop, GetCatalogRequest { page_size: 2, ..Default::default() }).await.unwrap();
    let hash = answer.catalog_hash.clone();
    assert_eq!(hash, Catalog::parse(CATALOG.as_bytes()).unwrap().hash());
    let first = page(answer);
    let listed = |page: &CatalogPage| page.games.iter().map(|game| game.game_id.clone()).collect::<Vec<_>>();
    assert_eq!(listed(&first), ["free", "gone"]);
    assert!(matches!(first.games[1].offer, Some(catalog_game::Offer::Delisted(_))));
    let request = GetCatalogRequest { page_size: 2, page_token: first.next_page_token, ..Default::default() };
    let last = page(ask(&shop, request).await.unwrap());
    assert_eq!((listed(&last), last.next_page_token.as_str()), (vec!["paid".to_owned()], ""));
    let paid = &last.games[0];
    assert_eq!(paid.offer, Some(catalog_game::Offer::Listed(usd(499))));
    assert_eq!((paid.title.as_str(), paid.release_year, paid.required_age), ("Paid", Some(2019), 0));
    let known = GetCatalogRequest { known_hash: hash.clone(), ..Default::default() };
    let answer = ask(&shop, known).await.unwrap();
    assert!(answer.catalog_hash == hash && matches!(answer.content, Some(Content::Unchanged(_))));
}

#[tokio::test]
async fn pages_of_two_catalogues_are_never_mixed() {
    let world = World::new(&[QUICK]).await;
    let shop = world.open().await;
    let first = page(ask(&shop, GetCatalogRequest { page_size: 1, ..Default::default() }).await.unwrap());
    let hash = replace(&world, &CATALOG.replace("499", "599"));
    uses(&shop, &hash).await;
    let request = GetCatalogRequest { page_size: 1, page_token: first.next_page_token, ..Default::default() };
    let status = ask(&shop, request).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::FailedPrecondition, Some(Reason::CatalogChanged)));
    assert_eq!(metadata_of(&status, "catalog_hash"), Some(hash));
}
