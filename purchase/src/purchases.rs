//! Takes orders: decides a purchase, writes its order, and waits for the order's end.

#[cfg(test)]
mod tests;

use std::time::Duration;

use gameshelf::catalog::Catalog;
use gameshelf::ids::{OrderId, PaymentId, RequestId};
use mesh::environment::Environment;
use mesh::seen::Carried;
use mesh::trace;
use tracing::Instrument;

use crate::metrics::Metrics;
use crate::order::{ContentHash, Decision, Order, Payment, Purchase, State, decide};
use crate::saga::{BacklogFull, EndWatch, Saga, Slot};
use crate::store::{SharedStore, StoreError};

/// What the service does, without the wire. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Purchases {
    pub(crate) store: SharedStore,
    pub(crate) saga: Saga,
    pub(crate) environment: Environment,
    pub(crate) metrics: Metrics,
}

/// A purchase that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Bought {
    /// At its end, or not yet.
    pub(crate) order: Order,
    /// Whether an earlier request made it.
    pub(crate) replayed: bool,
}

/// Why a purchase was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuyError {
    #[error("the request id stands for another purchase")]
    RequestIdReused(RequestId),
    #[error("the game has a price, and there is no payment token")]
    TokenMissing,
    #[error(transparent)]
    BacklogFull(#[from] BacklogFull),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Purchases {
    /// Takes a purchase as this catalogue has it, and waits at most `wait` for its end. A purchase that the catalogue refuses is an order too, so
    /// that a repeat has the same outcome.
    ///
    /// When it is cancelled, the order is written all the same, or not at all.
    pub(crate) async fn buy(
        &self,
        purchase: Purchase,
        catalog: &Catalog,
        wait: Duration,
    ) -> Result<Bought, BuyError> {
        let content = ContentHash::of(&purchase);
        let refused = match self.prepare(&purchase, catalog, &content) {
            Ok((order, slot)) => {
                // Before the order is worked on, so that its end is not missed.
                let watch = self.saga.watch(order.order_id);
                if self.write(order.clone(), slot).await? {
                    let order = self.wait(order, watch, wait).await;
                    return Ok(Bought { order, replayed: false });
                }
                None
            }
            Err(error) => Some(error),
        };
        // A repeat has its outcome, whatever would become of it as a new purchase now.
        match (self.store.by_request(purchase.request_id).await?, refused) {
            (Some(order), _) if order.content != content => {
                Err(BuyError::RequestIdReused(purchase.request_id))
            }
            (Some(order), _) => Ok(Bought { order: self.rejoin(order, wait).await?, replayed: true }),
            (None, Some(error)) => Err(error),
            (None, None) => Err(StoreError::Corrupt("a request is there and has no order".to_owned()).into()),
        }
    }

    /// An order as it stands.
    pub(crate) async fn get(&self, order_id: OrderId) -> Result<Option<Order>, StoreError> {
        self.store.by_id(order_id).await
    }

    /// The order of a new purchase, with a place in the backlog unless it is refused right away.
    fn prepare(
        &self,
        purchase: &Purchase,
        catalog: &Catalog,
        content: &ContentHash,
    ) -> Result<(Order, Option<Slot>), BuyError> {
        let (price, state) = match decide(catalog, purchase) {
            Decision::Sell(price) => (Some(price), State::Created),
            Decision::Refuse(refusal, price) => (price, State::Refused(refusal)),
            Decision::TokenMissing => return Err(BuyError::TokenMissing),
        };
        let slot = if state.is_end() { None } else { Some(self.saga.reserve()?) };
        let amount = price.clone().filter(|price| price.minor_units > 0 && !state.is_end());
        let created_unix_ms = self.environment.clock.unix_ms();
        let random = || self.environment.random.bytes10();
        let request_id = || RequestId::new_v7(created_unix_ms, random());
        let order = Order {
            order_id: OrderId::new_v7(created_unix_ms, random()),
            version: 1,
            state,
            request_id: purchase.request_id,
            content: content.clone(),
            customer_id: purchase.customer_id.clone(),
            game_id: purchase.game_id.clone(),
            price,
            catalog_hash: catalog.hash().to_owned(),
            payment: amount.map(|amount| Payment {
                payment_id: PaymentId::new_v7(created_unix_ms, random()),
                capture_request_id: request_id(),
                void_request_id: request_id(),
                amount,
                token: purchase.payment_token.clone(),
            }),
            grant_request_id: request_id(),
            traceparent: trace::current_traceparent(),
            created_unix_ms,
        };
        Ok((order, slot))
    }

    /// Writes a new order and gives it to the saga. False when there is an order of the same request.
    ///
    /// It runs in a task of its own, so that a caller who goes away cannot leave an order on disk that nobody works on.
    async fn write(&self, order: Order, slot: Option<Slot>) -> Result<bool, StoreError> {
        let this = self.clone();
        let writing = async move {
            let written = this.store.insert(&order, order.created_unix_ms).await;
            match &written {
                Ok(true) if order.state.is_end() => this.metrics.order_ended(&order),
                // An order that was perhaps written is looked for.
                Ok(true) | Err(StoreError::Unknown(_)) => this.saga.take(order.order_id, slot).await,
                Ok(false) | Err(_) => {}
            }
            written
        };
        let written = tokio::spawn(Carried::current().run(writing).in_current_span()).await;
        written.unwrap_or_else(|error| Err(StoreError::Unknown(format!("the writing ended early: {error}"))))
    }

    /// Waits for the end of an order that was there before.
    async fn rejoin(&self, order: Order, wait: Duration) -> Result<Order, StoreError> {
        if order.state.is_end() {
            return Ok(order);
        }
        let watch = self.saga.watch(order.order_id);
        self.saga.take(order.order_id, None).await;
        // It may have come to its end before it was watched.
        match self.store.by_id(order.order_id).await? {
            Some(order) => Ok(self.wait(order, watch, wait).await),
            None => Err(StoreError::Corrupt("an order is gone".to_owned())),
        }
    }

    /// The order at its end; or as it stands when that is not reached in time, or the service stops.
    async fn wait(&self, order: Order, watch: Option<EndWatch>, wait: Duration) -> Order {
        let (Some(mut watch), false) = (watch, order.state.is_end()) else {
            return order;
        };
        tokio::select! {
            ended = watch.ended() => ended,
            () = tokio::time::sleep(wait) => self.as_it_stands(order).await,
            () = self.saga.stopping() => self.as_it_stands(order).await,
        }
    }

    async fn as_it_stands(&self, order: Order) -> Order {
        // It was pending a moment ago, which is still a true answer when the store cannot say more.
        self.store.by_id(order.order_id).await.ok().flatten().unwrap_or(order)
    }
}
