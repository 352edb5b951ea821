//! A purchase that only gives its catalogue. It lives in a runtime of its own, so that it can be killed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gameshelf::catalog::{Catalog, Game, Offer};
use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::proto::purchase::v1::catalog_game::Offer as WireOffer;
use gameshelf::proto::purchase::v1::get_catalog_response::Content;
use gameshelf::proto::purchase::v1::purchase_service_server::{PurchaseService, PurchaseServiceServer};
use gameshelf::proto::purchase::v1::{
    CatalogGame, CatalogPage, CatalogUnchanged, Delisted, GetCatalogRequest, GetCatalogResponse, Price,
};
use gameshelf::services;
use mesh::environment::Environment;
use mesh::inbound::{InboundConfig, Server};
use mesh::version::{Description, of_package};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

const HEADER: &str = "game_id,title,status,release_year,price_minor_units,currency,required_age\n";

/// A catalogue in which each of these games has its title with a word before it.
pub(crate) fn catalog(word: &str, games: &[&str]) -> Catalog {
    let lines = games.iter().map(|game| format!("{game},{word} {game},listed,2019,499,USD,0\n"));
    let lines = lines.collect::<Vec<_>>().concat();
    Catalog::parse(format!("{HEADER}{lines}old-sea,{word} old-sea,delisted,,,,18\n").as_bytes()).unwrap()
}

/// What the fake has, and what it was asked.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) games_per_page: usize,
    /// Catalogues that take the place of the one before after a page that is not the last.
    pub(crate) changes_between_pages: VecDeque<Catalog>,
    /// Whether it refuses a page of a catalogue that is gone, or gives one of what it has now, as another instance might.
    pub(crate) refuses_old_pages: bool,
    /// What is done to each game on its way out.
    pub(crate) spoil: fn(&mut CatalogGame),
    /// How often it was asked, and how many pages and whole catalogues it gave.
    pub(crate) asked: usize,
    pub(crate) pages: usize,
    pub(crate) whole: usize,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<World>>);

/// The fake, up or down. What it has outlives its going down.
pub(crate) struct FakePurchase {
    shared: Shared,
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl FakePurchase {
    /// One that is up.
    pub(crate) fn start(catalog: Catalog) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let world = World {
            catalog,
            games_per_page: 100,
            changes_between_pages: VecDeque::new(),
            refuses_old_pages: true,
            spoil: |_| {},
            asked: 0,
            pages: 0,
            whole: 0,
        };
        let shared = Shared(Arc::new(Mutex::new(world)));
        let mut fake = Self { shared, address: listener.local_addr().unwrap(), runtime: None };
        fake.serve(Some(listener));
        fake
    }

    /// The flag by which a game-list finds it.
    pub(crate) fn flag(&self) -> String {
        format!("--purchase-address={}", self.address)
    }

    /// Serves, on the same port each time.
    pub(crate) fn go_up(&mut self) {
        self.serve(None);
    }

    /// Dies, with all its connections.
    pub(crate) fn go_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&mut self, mut bound: Option<std::net::TcpListener>) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (shared, address) = (self.shared.clone(), self.address);
        let serving = runtime.spawn(async move {
            let listener = loop {
                if let Some(listener) = bound.take() {
                    break TcpListener::from_std(listener).unwrap();
                }
                // The one before it may be going down still.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            let routes = Routes::new(PurchaseServiceServer::new(shared));
            let description = Description::new(services::PURCHASE, of_package(env!("CARGO_PKG_VERSION")));
            let server = Server::new(&[], &InboundConfig::default(), &Environment::system());
            let server = server.described(description);
            server.health().set_serving(true);
            server.serve(listener, routes, &[], CancellationToken::new()).await
        });
        drop(serving);
        self.runtime = Some(runtime);
    }
}

impl Drop for FakePurchase {
    fn drop(&mut self) {
        self.go_down();
    }
}

#[tonic::async_trait]
impl PurchaseService for Shared {
    async fn get_catalog(
        &self,
        request: Request<GetCatalogRequest>,
    ) -> Result<Response<GetCatalogResponse>, Status> {
        let request = request.into_inner();
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        world.asked += 1;
        let catalog_hash = world.catalog.hash().to_owned();
        if request.known_hash == catalog_hash {
            let content = Some(Content::Unchanged(CatalogUnchanged {}));
            return Ok(Response::new(GetCatalogResponse { catalog_hash, content }));
        }
        let (hash, start) = request.page_token.split_once(' ').unwrap_or((&catalog_hash, "0"));
        if hash != catalog_hash && world.refuses_old_pages {
            return Err(ErrorBuilder::new(Reason::CatalogChanged, "another one").build());
        }
        let start: usize = start.parse().unwrap();
        let end = start + world.games_per_page;
        let (spoil, is_last) = (world.spoil, end >= world.catalog.len());
        let games = world.catalog.after(None).skip(start).take(world.games_per_page).map(|game| {
            let mut game = wire(game);
            spoil(&mut game);
            game
        });
        let games = games.collect();
        let next_page_token = if is_last { String::new() } else { format!("{catalog_hash} {end}") };
        world.pages += 1;
        world.whole += usize::from(is_last);
        if let Some(next) = world.changes_between_pages.pop_front().filter(|_| !is_last) {
            world.catalog = next;
        }
        let content = Some(Content::Page(CatalogPage { games, next_page_token }));
        Ok(Response::new(GetCatalogResponse { catalog_hash, content }))
    }
}

fn wire(game: &Game) -> CatalogGame {
    let offer = match &game.offer {
        Offer::Listed(price) => {
            WireOffer::Listed(Price { currency: price.currency.clone(), minor_units: price.minor_units })
        }
        Offer::Delisted => WireOffer::Delisted(Delisted {}),
    };
    CatalogGame {
        game_id: game.game_id.to_string(),
        title: game.title.clone(),
        offer: Some(offer),
        release_year: game.release_year.map(u32::from),
        required_age: game.required_age.into(),
    }
}
