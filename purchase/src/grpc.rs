//! The service on the wire: parses requests into what the domain knows, and answers from it.

mod answers;
mod catalog;
mod errors;
mod page_token;
mod requests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gameshelf::catalog::Catalog;
use gameshelf::proto::purchase::v1 as wire;
use gameshelf::proto::purchase::v1::purchase_service_server::PurchaseService;
use mesh::deadline;
use mesh::file::Watched;
use tonic::{Request, Response, Status};

use crate::order::State;
use crate::purchases::{BuyError, Purchases};

pub(crate) use catalog::PageLimits;

/// Answers the RPCs. Until the store is open those about orders are refused.
#[derive(Clone, Debug)]
pub(crate) struct Grpc {
    purchases: Arc<OnceLock<Purchases>>,
    catalog: Watched<Catalog>,
    buy_wait: Duration,
    pages: PageLimits,
}

impl Grpc {
    pub(crate) fn new(
        purchases: Arc<OnceLock<Purchases>>,
        catalog: Watched<Catalog>,
        buy_wait: Duration,
        pages: PageLimits,
    ) -> Self {
        Self { purchases, catalog, buy_wait, pages }
    }

    fn purchases(&self) -> Result<&Purchases, Status> {
        self.purchases.get().ok_or_else(errors::store_not_open)
    }

    /// How long to wait for an order's end: a part of the caller's time is left for the answer to arrive in.
    fn wait(&self) -> Duration {
        let remaining = deadline::remaining().map(|remaining| remaining.saturating_sub(remaining / 8));
        remaining.map_or(self.buy_wait, |remaining| remaining.min(self.buy_wait))
    }
}

#[tonic::async_trait]
impl PurchaseService for Grpc {
    async fn buy(&self, request: Request<wire::BuyRequest>) -> Result<Response<wire::BuyResponse>, Status> {
        let purchases = self.purchases()?;
        // One catalogue for the whole request, whatever the file says a moment later.
        let catalog = self.catalog.current();
        let purchase = requests::buy(request.into_inner(), &catalog)?;
        let bought = purchases.buy(purchase, &catalog, self.wait()).await;
        let bought = bought.map_err(|error| errors::buy(&error))?;
        answers::seen(&bought.order);
        if let State::Refused(refusal) = &bought.order.state {
            return Err(errors::refusal(&bought.order, refusal, bought.replayed));
        }
        Ok(Response::new(wire::BuyResponse {
            order: Some(answers::order(&bought.order)),
            replayed: bought.replayed,
        }))
    }

    async fn get_order(
        &self,
        request: Request<wire::GetOrderRequest>,
    ) -> Result<Response<wire::GetOrderResponse>, Status> {
        let purchases = self.purchases()?;
        let order_id = requests::get_order(&request.into_inner())?;
        match purchases.get(order_id).await {
            Ok(Some(order)) => {
                answers::seen(&order);
                Ok(Response::new(wire::GetOrderResponse { order: Some(answers::order(&order)) }))
            }
            Ok(None) => Err(errors::order_unknown(order_id)),
            Err(error) => Err(errors::buy(&BuyError::Store(error))),
        }
    }

    async fn get_catalog(
        &self,
        request: Request<wire::GetCatalogRequest>,
    ) -> Result<Response<wire::GetCatalogResponse>, Status> {
        let query = requests::get_catalog(request.into_inner(), &self.pages)?;
        Ok(Response::new(catalog::answer(&self.catalog.current(), &query, &self.pages)?))
    }
}
