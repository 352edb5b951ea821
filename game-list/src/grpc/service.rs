//! The service itself: parse, list, answer.

use std::sync::Arc;

use gameshelf::catalog::Catalog;
use gameshelf::proto::gamelist::v1::game_list_service_server::GameListService;
use gameshelf::proto::gamelist::v1::{
    ListGamesRequest, ListGamesResponse, WatchGamesRequest, WatchGamesResponse,
};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::errors;
use super::wire::{self, PageSizes};
use crate::list::Lister;
use crate::watch::Watcher;

/// Answers gamelist/v1.
#[derive(Debug)]
pub(crate) struct Service {
    lister: Arc<Lister>,
    watcher: Watcher,
    catalog: Arc<Catalog>,
    page_sizes: PageSizes,
}

impl Service {
    pub(crate) fn new(watcher: Watcher, catalog: Catalog, page_sizes: PageSizes) -> Self {
        Self { lister: Arc::clone(&watcher.lister), watcher, catalog: Arc::new(catalog), page_sizes }
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
        wire::shown(answer.token);
        Ok(Response::new(wire::response(&query.customer_id, answer, &self.catalog)))
    }

    async fn watch_games(
        &self,
        request: Request<WatchGamesRequest>,
    ) -> Result<Response<BoxStream<WatchGamesResponse>>, Status> {
        let (customer_id, requirement) = wire::watch(&request.into_inner())?;
        let opened = self.watcher.open(customer_id, requirement, &wire::seen()).await;
        let (shown, messages) = opened.map_err(|error| errors::watch(&error))?;
        wire::shown(shown);
        let catalog = Arc::clone(&self.catalog);
        let stream = ReceiverStream::new(messages).map(move |message| match message {
            Ok(message) => Ok(wire::message(message, &catalog)),
            Err(error) => Err(errors::watch(&error)),
        });
        Ok(Response::new(Box::pin(stream)))
    }
}
