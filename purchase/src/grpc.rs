//! The service on the wire: parses requests into what the domain knows, and answers from it.

mod answers;
mod errors;
mod requests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gameshelf::proto::purchase::v1 as wire;
use gameshelf::proto::purchase::v1::purchase_service_server::PurchaseService;
use mesh::deadline;
use tonic::{Request, Response, Status};

use crate::order::State;
use crate::purchases::{BuyError, Purchases};

/// Answers the RPCs. Until the store is open every one of them is refused.
#[derive(Clone, Debug)]
pub(crate) struct Grpc {
    purchases: Arc<OnceLock<Purchases>>,
    buy_wait: Duration,
}

impl Grpc {
    pub(crate) fn new(purchases: Arc<OnceLock<Purchases>>, buy_wait: Duration) -> Self {
        Self { purchases, buy_wait }
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
        let purchase = requests::buy(request.into_inner(), purchases.catalog())?;
        let bought = purchases.buy(purchase, self.wait()).await.map_err(|error| errors::buy(&error))?;
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
}
