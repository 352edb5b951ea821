//! The handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::subscription::{SENDING_MAX, Subscription};
use super::{errors, wire};
use crate::proto::tickets::v1;
use crate::proto::tickets::v1::ticket_service_server::TicketService;
use crate::service::config::Config;
use crate::service::news::News;
use crate::service::store::Store;

/// The service of tickets.
#[derive(Debug)]
pub(in crate::service) struct Service {
    store: Arc<Store>,
    news: News,
    draining: CancellationToken,
    places: Arc<Semaphore>,
    limits: Limits,
    served: Served,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    text_max_bytes: usize,
    replies_per_query: u32,
    page_replies: u32,
    max_subscriptions: u32,
    slow_subscriber: Duration,
}

/// How often each method was asked.
#[derive(Debug, Default)]
struct Served {
    adds: AtomicU64,
    queries: AtomicU64,
    replies: AtomicU64,
    subscriptions: AtomicU64,
}

impl Service {
    pub(in crate::service) fn new(
        store: Arc<Store>,
        news: News,
        config: &Config,
        draining: CancellationToken,
    ) -> Self {
        let places = usize::try_from(config.max_subscriptions).unwrap_or(Semaphore::MAX_PERMITS);
        let limits = Limits {
            text_max_bytes: usize::try_from(config.text_max_bytes).unwrap_or(usize::MAX),
            replies_per_query: config.replies_per_query,
            page_replies: config.page_replies,
            max_subscriptions: config.max_subscriptions,
            slow_subscriber: Duration::from_millis(config.slow_subscriber_ms),
        };
        Self {
            store,
            news,
            draining,
            places: Arc::new(Semaphore::new(places)),
            limits,
            served: Served::default(),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Does a write to its end, also where the caller has gone: a transaction that is left in its middle would hold the lock of the
/// file, for which the writers of all instances wait.
async fn whole<T: Send + 'static>(write: impl Future<Output = T> + Send + 'static) -> Result<T, Status> {
    tokio::spawn(write).await.map_err(|_| errors::stopping())
}

#[tonic::async_trait]
impl TicketService for Service {
    async fn add(&self, request: Request<v1::AddRequest>) -> Result<Response<v1::AddResponse>, Status> {
        count(&self.served.adds);
        let new = wire::new_ticket(request.into_inner(), self.limits.text_max_bytes)?;
        let (store, id) = (Arc::clone(&self.store), new.request_id.to_string());
        let added =
            whole(async move { store.add_ticket(new.request_id, &new.title, new.priority).await }).await?;
        let added = added.map_err(|error| errors::write(&error, &id, 0))?;
        let ticket = Some(wire::ticket(added.what));
        Ok(Response::new(v1::AddResponse { ticket, replayed: added.replayed }))
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        count(&self.served.queries);
        let id = request.into_inner().ticket_id;
        let ticket = self.store.ticket(id).await.map_err(|error| errors::store(&error))?;
        let Some(ticket) = ticket else { return Err(errors::ticket_unknown(id)) };
        let found = self.store.replies_to(id, self.limits.replies_per_query).await;
        let (replies, reply_count) = found.map_err(|error| errors::store(&error))?;
        let replies = replies.into_iter().map(wire::reply).collect();
        Ok(Response::new(v1::QueryResponse { ticket: Some(wire::ticket(ticket)), replies, reply_count }))
    }

    async fn add_reply(
        &self,
        request: Request<v1::AddReplyRequest>,
    ) -> Result<Response<v1::AddReplyResponse>, Status> {
        count(&self.served.replies);
        let new = wire::new_reply(request.into_inner(), self.limits.text_max_bytes)?;
        let (store, id, ticket_id) = (Arc::clone(&self.store), new.request_id.to_string(), new.ticket_id);
        let write = async move { store.add_reply(new.request_id, ticket_id, &new.author, &new.text).await };
        let added = whole(write).await?.map_err(|error| errors::write(&error, &id, ticket_id))?;
        self.news.tell(added.what.position);
        let reply = Some(wire::reply(added.what));
        Ok(Response::new(v1::AddReplyResponse { reply, replayed: added.replayed }))
    }

    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        count(&self.served.subscriptions);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(errors::too_many_subscriptions(self.limits.max_subscriptions));
        };
        let position = request.into_inner().after_position;
        // Not from memory: the subscriber may have heard of it from an instance that is a little ahead.
        let newest = self.store.newest_position().await.map_err(|error| errors::store(&error))?;
        if position > newest {
            return Err(errors::position_unknown(position, newest));
        }
        let (out, stream) = mpsc::channel(SENDING_MAX + 1);
        // A new channel has room.
        let end = out.clone().try_reserve_owned().map_err(|_| errors::stopping())?;
        let subscription = Subscription {
            store: Arc::clone(&self.store),
            news: self.news.hear(),
            position,
            page_replies: self.limits.page_replies,
            patience: self.limits.slow_subscriber,
            draining: self.draining.clone(),
            out,
            end,
            place,
        };
        tokio::spawn(subscription.deliver());
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_served(
        &self,
        _: Request<v1::GetServedRequest>,
    ) -> Result<Response<v1::GetServedResponse>, Status> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Response::new(v1::GetServedResponse {
            adds: read(&self.served.adds),
            queries: read(&self.served.queries),
            replies: read(&self.served.replies),
            subscriptions: read(&self.served.subscriptions),
        }))
    }
}
