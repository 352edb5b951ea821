//! The service itself: parse, list, answer.

use gameshelf::catalog::Catalog;
use gameshelf::proto::gamelist::v1::game_list_service_server::GameListService;
use gameshelf::proto::gamelist::v1::{ListGamesRequest, ListGamesResponse};
use tonic::{Request, Response, Status};

use super::errors;
use super::wire::{self, PageSizes};
use crate::list::Lister;

/// Answers gamelist/v1.
#[derive(Debug)]
pub(crate) struct Service {
    lister: Lister,
    catalog: Catalog,
    page_sizes: PageSizes,
}

impl Service {
    pub(crate) fn new(lister: Lister, catalog: Catalog, page_sizes: PageSizes) -> Self {
        Self { lister, catalog, page_sizes }
    }
}

#[tonic::async_trait]
impl GameListService for Service {
    async fn list_games(
        &self,
        request: Request<ListGamesRequest>,
    ) -> Result<Response<ListGamesResponse>, Status> {
        let query = wire::query(&request.into_inner(), self.page_sizes)?;
        let answer = self.lister.list(&query).await.map_err(|error| errors::list(&error))?;
        Ok(Response::new(wire::response(&query.customer_id, answer, &self.catalog)))
    }
}
